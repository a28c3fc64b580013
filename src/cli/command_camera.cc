#include "cli/command_camera.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <map>
#include <memory>
#include <vector>

#include "camera/camera.h"
#include "config/options.h"
#include "processes/kafka_post.h"

namespace sightline {
namespace {

std::atomic<bool> stop_camera{false};  // set by the signal handler: lock-free

struct Command {
  CameraOptions options;
  bool simulate = false;
  std::string replay, speed = "1", heartbeat;
  // Of `up`, those of kafka.*: where the topic is and how to log in.
  Settings up;
  std::vector<Option> table = OptionTable(&up);
  std::map<std::string, std::string> given;
  std::string message = "event";  // of the topic
};

// With --kafka.brokers the events go to the topic, not to a server.
Status UseKafka(Command& command) {
  for (const Option& option : command.table) {
    const auto it = command.given.find(option.key);
    if (it == command.given.end() || it->second.empty()) continue;
    if (const Status status = option.set(it->second); !status.ok())
      return Status::Stop(fmt::format("--{}: {}", option.key, status.message()));
  }
  if (command.up.kafka.client.brokers.empty()) return Status::Ok();
  command.options.sender.url =
      fmt::format("kafka://{}/{}", command.up.kafka.client.brokers, command.up.kafka.topic);
  command.options.sender.gzip = false;  // the client packs by itself
  // One body at a time, and brokers answer when all replicas have it: what has come meanwhile goes
  // together.
  command.options.sender.batch_events_max = 10'000;
  command.options.sender.queue_events_max = 50'000;
  command.options.make_client = [up = command.up, message = command.message == "frame"
                                                                ? KafkaMessage::kFrame
                                                                : KafkaMessage::kEvent] {
    return OpenKafkaPost(up, message);
  };
  return Status::Ok();
}

int Run(Command& command) {
  CameraOptions& options = command.options;
  options.source =
      command.simulate ? CameraOptions::Source::kSimulate : CameraOptions::Source::kPlayback;
  options.playback.path = command.replay;
  auto fail = [](const std::string& message) {
    fmt::print(stderr, "sightline camera: {}\n", message);
    return 1;
  };
  if (command.simulate == !command.replay.empty())
    return fail("say either --replay FILE or --simulate");
  try {
    options.playback.speed = command.speed == "max" ? 0 : std::stod(command.speed);
  } catch (const std::exception&) {
    return fail(fmt::format("--speed '{}' is no number: 1 is real time, max is as fast as possible",
                            command.speed));
  }
  if (const Status status = UseKafka(command); !status.ok()) return fail(status.message());
  if (const Status status = options.Validate(); !status.ok()) return fail(status.message());
  static_assert(std::atomic<bool>::is_always_lock_free);
  std::signal(SIGTERM, [](int) { stop_camera = true; });
  std::signal(SIGINT, [](int) { stop_camera = true; });
  std::signal(SIGPIPE, SIG_IGN);
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const Status status = RunCamera(options, stop_camera, [&](std::string_view line) {
    fmt::print(stderr, "{}{}{}", terminal ? "\r\x1b[K" : "", line, terminal ? "" : "\n");
  });
  if (terminal) fmt::print(stderr, "\n");
  return status.ok() ? 0 : fail(status.message());
}

void AddSimulatorOptions(CLI::App* camera, SimulatorOptions* simulator) {
  const auto add = [&](const char* name, auto* value, const char* help) {
    camera->add_option(name, *value, help)->capture_default_str()->group("Simulation");
  };
  add("--locations", &simulator->locations, "number of locations");
  add("--cameras-per-location", &simulator->cameras_per_location, "number of cameras in each");
  add("--rate", &simulator->rate, "detections a second over all cameras");
  add("--items", &simulator->items, "number of distinct items");
  add("--linger", &simulator->linger_probability, "probability that an object stays for frames");
  add("--disorder", &simulator->disorder_probability, "probability that a detection comes late");
  add("--retry", &simulator->retry_probability, "probability that a batch is sent twice");
  add("--dark", &simulator->dark_probability, "probability a camera-minute of a cut connection");
  add("--silent", &simulator->silent_probability, "probability a camera-minute of switching off");
  add("--wrong-clock", &simulator->wrong_clock_probability,
      "probability a camera-minute of a wrong clock");
  add("--malformed", &simulator->malformed_probability, "probability of a line of nonsense");
}

}  // namespace

void AddCameraCommand(CLI::App& app, int* result) {
  auto command = std::make_shared<Command>();
  CameraOptions& options = command->options;
  CLI::App* camera =
      app.add_subcommand("camera", "Send detections to a server: a recording or a simulated city");
  camera->add_option("--replay", command->replay, "recording (NDJSON, plain or .gz; - is stdin)");
  camera->add_flag("--simulate", command->simulate, "a city of simulated cameras");
  camera->add_option("--url", options.sender.url, "of the server")->capture_default_str();
  camera
      ->add_option("--spool", options.spool.directory,
                   "folder that keeps detections while the server is away")
      ->capture_default_str();
  camera->add_option("--spool-max", options.spool.bytes_max, "bytes of the spool")
      ->capture_default_str();
  camera->add_flag("--gzip", options.sender.gzip, "compress what is sent");
  camera->add_option("--speed", command->speed, "of a recording: 1 is real time; max")
      ->capture_default_str()
      ->group("Recording");
  camera->add_flag("--shift-to-now", options.playback.shift_to_now, "move its times to the present")
      ->group("Recording");
  camera->add_flag("--loop", options.playback.loop, "again and again (with --shift-to-now)")
      ->group("Recording");
  camera->add_option("--seed", options.seed, "the same city for the same seed")
      ->capture_default_str()
      ->group("Simulation");
  camera->add_option("--locations-file", options.locations_file, "write the city's location table")
      ->group("Simulation");
  AddSimulatorOptions(camera, &options.simulator);
  // As far as a camera needs them.
  for (const Option& option : command->table) {
    if (!option.key.starts_with("kafka.s") && option.key != "kafka.brokers" &&
        option.key != "kafka.topic")
      continue;
    const bool brokers = option.key == "kafka.brokers";
    const std::string value = option.get();
    camera
        ->add_option((brokers ? "--kafka,--" : "--") + option.key, command->given[option.key],
                     brokers ? "send to a topic there, not to a server" : option.help)
        ->type_name(option.unit)
        ->group("Kafka");
  }
  camera
      ->add_option("--kafka.message", command->message,
                   "what a message has: event, or frame, which is all that a camera saw at one "
                   "moment")
      ->check(CLI::IsMember({"event", "frame"}))
      ->capture_default_str()
      ->group("Kafka");
  camera->footer(
      "Examples:\n"
      "  sightline camera --simulate --rate 200\n"
      "  sightline camera --replay data/pedestrians.ndjson --shift-to-now --loop\n"
      "  sightline camera --replay day.ndjson --speed max --url http://127.0.0.1:8080\n"
      "  sightline camera --simulate --kafka 127.0.0.1:9092 --kafka.message frame\n\n"
      "While the server or the brokers are away everything goes to the spool, and from there in "
      "order when it is\n"
      "back. One --spool folder for each camera process.");
  camera->callback([command, result] { *result = Run(*command); });
}

}  // namespace sightline
