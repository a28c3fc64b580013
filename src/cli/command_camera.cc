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
  // Of the options of `up`, only those of kafka.* are used: the topic, and how to log in.
  Settings up;
  std::vector<Option> table = OptionTable(&up);
  std::map<std::string, std::string> given;
  std::string message = "event";  // of the topic
};

// Sends the events to the topic instead of a server, if --kafka.brokers is given.
Status UseKafka(Command& command) {
  for (const Option& option : command.table) {
    const auto it = command.given.find(option.key);
    if (it == command.given.end() || it->second.empty()) continue;
    if (const Status status = option.set(it->second); !status.ok())
      return Status::Stop(fmt::format("--{}: {}", option.key, status.message()));
  }
  if (!command.up.kafka.enabled()) return Status::Ok();
  command.options.sender.url =
      fmt::format("kafka://{}/{}", command.up.kafka.client.brokers, command.up.kafka.topic);
  command.options.sender.gzip = false;  // the Kafka client compresses by itself
  // The sender has one body in flight, and the brokers answer only when all replicas have it. So
  // a body must be large enough to hold what comes meanwhile.
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
    return fail("give either --replay FILE or --simulate");
  try {
    options.playback.speed = command.speed == "max" ? 0 : std::stod(command.speed);
  } catch (const std::exception&) {
    return fail(fmt::format(
        "--speed '{}' is not a number: 1 is real time, max is as fast as possible", command.speed));
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
  add("--locations", &simulator->locations, "The number of locations.");
  add("--cameras-per-location", &simulator->cameras_per_location,
      "The number of cameras in each location.");
  add("--rate", &simulator->rate, "The number of detections per second, over all cameras.");
  add("--items", &simulator->items, "The number of distinct items.");
  add("--linger", &simulator->linger_probability,
      "The probability that an object stays in view for several frames.");
  add("--disorder", &simulator->disorder_probability,
      "The probability that a detection arrives out of order.");
  add("--retry", &simulator->retry_probability, "The probability that a batch is sent twice.");
  add("--dark", &simulator->dark_probability,
      "The probability, per camera and minute, that the connection breaks.");
  add("--silent", &simulator->silent_probability,
      "The probability, per camera and minute, that the camera switches off.");
  add("--wrong-clock", &simulator->wrong_clock_probability,
      "The probability, per camera and minute, that the clock goes wrong.");
  add("--malformed", &simulator->malformed_probability,
      "The probability that a line cannot be decoded.");
}

}  // namespace

void AddCameraCommand(CLI::App& app, int* result) {
  auto command = std::make_shared<Command>();
  CameraOptions& options = command->options;
  CLI::App* camera =
      app.add_subcommand("camera", "Send the detections of a recording or of a simulated city");
  camera->add_option("--replay", command->replay,
                     "The recording to play back (NDJSON, plain or .gz); - reads stdin.");
  camera->add_flag("--simulate", command->simulate, "Simulate the cameras of a city.");
  camera->add_option("--url", options.sender.url, "The URL of the server.")->capture_default_str();
  camera
      ->add_option("--spool", options.spool.directory,
                   "The folder that keeps detections while the server is away. Each camera process "
                   "needs its own.")
      ->capture_default_str();
  camera
      ->add_option("--spool-max", options.spool.bytes_max,
                   "The maximum size of the spool, in bytes.")
      ->capture_default_str();
  camera->add_flag("--gzip", options.sender.gzip, "Compress the bodies that are sent.");
  camera
      ->add_option("--speed", command->speed,
                   "The speed of playback: 1 is real time, max is as fast as possible.")
      ->capture_default_str()
      ->group("Recording");
  camera
      ->add_flag("--shift-to-now", options.playback.shift_to_now,
                 "Shift the times of the recording to the present.")
      ->group("Recording");
  camera
      ->add_flag("--loop", options.playback.loop,
                 "Repeat the recording for ever. Needs --shift-to-now.")
      ->group("Recording");
  camera
      ->add_option("--seed", options.seed,
                   "The seed of the city. The same seed gives the same city.")
      ->capture_default_str()
      ->group("Simulation");
  camera
      ->add_option("--locations-file", options.locations_file,
                   "The file to which the location table of the city is written.")
      ->group("Simulation");
  AddSimulatorOptions(camera, &options.simulator);
  // A camera needs the topic, and the options of the connection.
  for (const Option& option : command->table) {
    if (!option.key.starts_with("kafka.s") && option.key != "kafka.brokers" &&
        option.key != "kafka.topic")
      continue;
    const bool brokers = option.key == "kafka.brokers";
    camera
        ->add_option((brokers ? "--kafka,--" : "--") + option.key, command->given[option.key],
                     brokers
                         ? "The brokers. If set, detections go to kafka.topic instead of a server."
                         : option.help)
        ->type_name(option.unit)
        ->group("Kafka");
  }
  camera
      ->add_option(
          "--kafka.message", command->message,
          "What one message holds: one event, or one frame, which is all that a camera saw "
          "at one moment.")
      ->check(CLI::IsMember({"event", "frame"}))
      ->capture_default_str()
      ->group("Kafka");
  camera->footer(
      "Examples:\n"
      "  sightline camera --simulate --rate 200\n"
      "  sightline camera --replay data/pedestrians.ndjson --shift-to-now --loop\n"
      "  sightline camera --replay day.ndjson --speed max --url http://127.0.0.1:8080\n"
      "  sightline camera --simulate --kafka 127.0.0.1:9092 --kafka.message frame\n\n"
      "While the server or the brokers are away, detections go to the spool. When they are back,\n"
      "the spool is sent first, in order.");
  camera->callback([command, result] { *result = Run(*command); });
}

}  // namespace sightline
