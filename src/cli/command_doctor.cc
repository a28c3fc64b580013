#include "cli/command_doctor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/log.h"
#include "batch/input.h"
#include "camera/curl_client.h"
#include "cli/command_options.h"
#include "config/kafka_options.h"
#include "config/options.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/newest.h"
#include "doctor/diagnose.h"
#include "doctor/server_answers.h"
#include "operators/split_message.h"

namespace sightline {
namespace {

constexpr int kTrouble = 3;
constexpr CurlClientOptions kDownload{
    .connect_timeout = {10'000}, .timeout = {120'000}, .answer_bytes_max = 256 << 20};
constexpr size_t kHeadBytes = 64 << 10;

struct Command {
  Settings options;
  std::vector<Option> table = OptionTable(&options);
  std::string config;
  std::map<std::string, std::string> given;  // on the command line, by key
  std::string source, format = "text", write, timeout = "30s";
  int64_t records = 20'000;
  bool force = false;
};

int Fail(const std::string& message) {
  fmt::print(stderr, "sightline doctor: {}\n", message);
  return 1;
}

// Shows in one line of a terminal what was read so far.
class SampleProgress {
 public:
  void operator()(const Sample& sample) {
    const auto now = std::chrono::steady_clock::now();
    if (!is_shown_ || now - drawn_ < std::chrono::milliseconds(200)) return;
    drawn_ = now;
    drew_ = true;
    fmt::print(stderr, "\r\x1b[K{:.2f} M detections",
               static_cast<double>(sample.rows().size()) / 1e6);
  }
  ~SampleProgress() {
    if (drew_) fmt::print(stderr, "\r\x1b[K");
  }

 private:
  const bool is_shown_ = isatty(STDERR_FILENO) != 0;
  bool drew_ = false;
  std::chrono::steady_clock::time_point drawn_ = std::chrono::steady_clock::now();
};

// The beginning of a file if it is UTF-16 or CSV, which Input refuses. The sample can say so.
std::optional<std::string> OtherFormatOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string head(kHeadBytes, '\0');
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<size_t>(file.gcount()));
  if (OtherFormat(head) == MalformedReason::kNone) return std::nullopt;
  return head;
}

Status ReadFile(const std::string& path, Sample& sample, SourceFacts& facts) {
  SampleProgress progress;
  Input input({path});
  LineBlock block;
  int64_t line = 1;
  while (!sample.Full()) {
    const Result<bool> more = input.Next(&block);
    if (!more.ok()) {
      std::optional<std::string> head = line == 1 ? OtherFormatOf(path) : std::nullopt;
      if (!head) return more.status();
      const size_t size = head->size();
      head->append(kDecodePadding, ' ');
      sample.Add({.bytes = std::string_view(*head).substr(0, size), .place = 1});
      return Status::Ok();
    }
    if (!more.value()) return Status::Ok();
    sample.Add({.bytes = block.text(), .place = line});
    line += std::ranges::count(block.text(), '\n');
    progress(sample);
  }
  facts.was_read = fmt::format("The first {} elements were read", sample.totals().elements());
  return Status::Ok();
}

// The options under which `up --config` reads the same topic. None is a secret: passwords are in
// files or in the environment.
void AddKafka(const Command& command, SourceFacts& facts) {
  facts.given = {{.key = "kafka.brokers", .value = command.options.kafka.client.brokers, .why = ""},
                 {.key = "kafka.topic", .value = facts.name, .why = ""}};
  for (const auto& [key, value] : command.given)
    if (!value.empty() && key != "kafka.brokers" && key != "kafka.topic")
      facts.given.push_back({.key = key, .value = value, .why = ""});
}

Status ReadTopic(const Command& command, std::optional<Sample>& sample, SourceFacts& facts) {
  const Result<Millis> timeout = ParseDuration(command.timeout);
  if (!timeout.ok()) return Status::Stop("--timeout: " + timeout.status().message());
  Result<KafkaOptions> kafka = MakeKafkaOptions(command.options.kafka);
  if (!kafka.ok()) return kafka.status();
  Result<std::unique_ptr<KafkaAdmin>> admin = KafkaAdmin::Open(kafka.value(), timeout.value());
  if (!admin.ok()) return admin.status();
  const Result<std::optional<KafkaTopicState>> topic = admin.value()->Describe(facts.name);
  if (!topic.ok()) return topic.status();
  if (!topic.value()) return Status::Stop(fmt::format("there is no topic '{}'", facts.name));
  const int32_t partitions = topic.value()->partitions;
  sample.emplace(Sample::Options{.partitions = partitions});
  AddKafka(command, facts);
  facts.was_read = fmt::format("The newest {} records of each of {} partitions were read",
                               command.records, partitions);
  SampleProgress progress;
  std::string padded;
  return ReadNewest(kafka.value(), facts.name, partitions, command.records, timeout.value(),
                    [&](const NewestRecord& record) {
                      padded.assign(record.value);
                      padded.append(kDecodePadding, ' ');
                      sample->Add({.bytes = std::string_view(padded).substr(0, record.value.size()),
                                   .append_time = record.append_time,
                                   .partition = record.partition,
                                   .place = record.offset.v,
                                   .key = record.key});
                      progress(*sample);
                    });
}

// The body of an answer as a file without a name, so that it is read as every other file.
Status ReadBody(const std::string& body, Sample& sample, SourceFacts& facts) {
  const File file(memfd_create("sightline-doctor", MFD_CLOEXEC));
  if (!file.ok()) return SystemError(errno, "make", "a file in memory");
  for (size_t at = 0; at < body.size();) {
    const ssize_t n = write(file.fd(), body.data() + at, body.size() - at);
    if (n < 0 && errno != EINTR) return SystemError(errno, "write", "a file in memory");
    at += static_cast<size_t>(std::max<ssize_t>(n, 0));
  }
  return ReadFile(fmt::format("/proc/self/fd/{}", file.fd()), sample, facts);
}

Status Answered(const HttpResponse& response, const std::string& url) {
  if (response.status == 200) return Status::Ok();
  return Status::Stop(response.status == 0
                          ? fmt::format("'{}' does not answer: {}", url, response.error)
                          : fmt::format("'{}' answers {}", url, response.status));
}

Result<Diagnosis> AskServer(HttpClient& client, const std::string& root,
                            const std::string& healthz) {
  const std::string ledger_url = root + "/v1/ledger?group=camera&format=json";
  const HttpResponse ledger = client.Get(ledger_url);
  RETURN_IF_ERROR(Answered(ledger, ledger_url));
  const HttpResponse alerts = client.Get(root + "/v1/alerts");
  RETURN_IF_ERROR(Answered(alerts, root + "/v1/alerts"));
  return DiagnoseServer({.healthz = healthz, .ledger = ledger.body, .alerts = alerts.body});
}

bool IsRoot(std::string_view url) {
  return url.find_first_of("/?", url.find("://") + 3) == std::string_view::npos;
}

Result<Diagnosis> LookAtUrl(const Command& command, SourceFacts& facts) {
  Result<std::unique_ptr<HttpClient>> client = CreateCurlClient(kDownload);
  if (!client.ok()) return client.status();
  std::string root = command.source;
  while (root.ends_with('/')) root.pop_back();
  if (IsRoot(root)) {
    const HttpResponse health = client.value()->Get(root + "/healthz");
    if (IsHealthAnswer(health.body)) {
      facts.kind = SourceFacts::Kind::kServer;
      return AskServer(*client.value(), root, health.body);
    }
  }
  const HttpResponse response = client.value()->Get(command.source);
  RETURN_IF_ERROR(Answered(response, command.source));
  Sample sample({});
  RETURN_IF_ERROR(ReadBody(response.body, sample, facts));
  sample.Finish();
  return Diagnose(sample, facts);
}

Result<Diagnosis> Look(const Command& command, SourceFacts& facts) {
  if (command.source.find("://") != std::string::npos) return LookAtUrl(command, facts);
  std::optional<Sample> sample;
  if (command.options.kafka.enabled()) {
    facts.kind = SourceFacts::Kind::kTopic;
    facts.name = command.source;
    RETURN_IF_ERROR(ReadTopic(command, sample, facts));
  } else {
    sample.emplace(Sample::Options{});
    RETURN_IF_ERROR(ReadFile(command.source, *sample, facts));
  }
  sample->Finish();
  if (sample->totals().messages == 0)
    return Status::Stop(fmt::format("'{}' is empty", command.source));
  return Diagnose(*sample, facts);
}

Status WriteConfig(const Command& command, const std::string& config) {
  const int replace = command.force ? O_TRUNC : O_EXCL;
  const File file(open(command.write.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | replace, 0644));
  if (!file.ok() && errno == EEXIST)
    return Status::Stop(fmt::format("'{}' is there already; --force replaces it", command.write));
  if (!file.ok()) return SystemError(errno, "write", command.write);
  const ssize_t written = write(file.fd(), config.data(), config.size());
  if (written != static_cast<ssize_t>(config.size()))
    return Status::Stop(fmt::format("cannot write all of '{}'", command.write));
  return Status::Ok();
}

int Run(Command& command) {
  const Status read = ReadOptions(command.config, command.given, command.table);
  if (!read.ok()) return Fail(read.message());
  SetLogLevel("error");  // the command's own last line says what went wrong
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  SourceFacts facts{.now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count()};
  const Result<Diagnosis> diagnosis = Look(command, facts);
  if (!diagnosis.ok()) return Fail(diagnosis.status().message());
  const std::string config = FormatConfig(diagnosis.value(), facts);
  std::string text = command.format == "json" ? FormatJson(diagnosis.value(), facts)
                                              : FormatText(diagnosis.value());
  if (!command.write.empty()) {
    if (config.empty())
      return Fail(
          "--write: a running server keeps its settings; look at a file or a topic instead");
    if (const Status written = WriteConfig(command, config); !written.ok())
      return Fail(written.message());
    if (command.format == "text") text += fmt::format("\nwrote {}\n", command.write);
  } else if (command.format == "text" && !config.empty()) {
    text += "\nThe configuration (--write FILE writes it):\n\n" + config;
  }
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    return Fail("cannot write to standard output");
  return diagnosis.value().HasTrouble() ? kTrouble : 0;
}

}  // namespace

void AddDoctorCommand(CLI::App& app, int* result) {
  auto command = std::make_shared<Command>();
  CLI::App* doctor = app.add_subcommand(
      "doctor", "Look at detections, say what is wrong with them, and write a configuration");
  doctor
      ->add_option("source", command->source,
                   "A file (NDJSON or JSON; plain, .gz or .zst; - reads stdin), with --kafka a "
                   "topic, the http or https URL of such a file (at most 256 MiB), or the URL of a "
                   "running Sightline server.")
      ->required();
  doctor->add_option("--format", command->format, "The format of the output: text or json.")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  doctor->add_option("--write", command->write,
                     "The file to which the configuration is written. Without it, it is printed.");
  doctor->add_flag("--force", command->force, "Replace the file of --write if it is there.");
  doctor
      ->add_option("--records", command->records,
                   "The number of newest records that are read of each partition of a topic.")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  doctor
      ->add_option("--timeout", command->timeout,
                   "The time in which a partition of a topic must have been read.")
      ->capture_default_str();
  doctor->add_option("--config", command->config,
                     "The configuration file (TOML) that says how to reach Kafka.");
  AddOptions(*doctor, command->table, command->given, BeginningWith({"kafka."}));
  doctor->footer(
      "Examples:\n"
      "  sightline doctor detections.ndjson.gz\n"
      "  sightline doctor detections.ndjson --write sightline.toml\n"
      "  sightline doctor raw_camera_events --kafka 127.0.0.1:9092 --records 100000\n"
      "  sightline doctor http://127.0.0.1:8080\n\n"
      "It reads at most 2 million elements and changes nothing: a topic is read without a "
      "group.\n"
      "The exit code is 0 if there is no trouble, 3 if there is some, and 1 if the source could "
      "not\n"
      "be read.");
  doctor->callback([command, result] { *result = Run(*command); });
}

}  // namespace sightline
