#include "cli/command_topics.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "admin/topics.h"
#include "base/log.h"
#include "cli/command_options.h"
#include "config/kafka_options.h"
#include "config/options.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/newest.h"
#include "connectors/kafka/raw_topic_name.h"
#include "connectors/locations/location_file.h"
#include "operators/decode.h"
#include "query/write_result.h"

namespace sightline {
namespace {

constexpr int kFailed = 1;
constexpr int kDiffers = 2;
constexpr std::chrono::milliseconds kLookAgain{50};

struct Command {
  Settings options;
  std::vector<Option> table = OptionTable(&options);
  std::string config;
  std::map<std::string, std::string> given;  // on the command line, by key
  std::string format = "table", timeout = "10s", principal = "User:sightline", rights_of = "up";
  CopyNames copy;
  int64_t sample = 1'000;
  bool steps = false, yes = false;
  Millis timeout_ms;  // `timeout`, parsed
};

int Fail(std::string_view name, const std::string& message) {
  fmt::print(stderr, "sightline topics {}: {}\n", name, message);
  return kFailed;
}

int Print(std::string_view name, const std::string& format_name,
          const std::vector<std::string>& columns, std::vector<Row> rows) {
  const Result<ResultFormat> format = ParseResultFormat(format_name);
  if (!format.ok()) return Fail(name, format.status().message());
  std::vector<Column> typed;
  typed.reserve(columns.size());
  for (const std::string& column : columns) typed.push_back({column, ColumnType::kText});
  ResultTable table = ResultTable::FromRows(std::move(typed), std::move(rows));
  const Status written = WriteResult(table, format.value(), [](std::string_view bytes) {
    if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size())
      return Status::Stop("cannot write to standard output");
    return Status::Ok();
  });
  if (!written.ok()) return Fail(name, written.message());
  if (std::fflush(stdout) != 0) return Fail(name, "cannot write to standard output");
  return 0;
}

// ---- the cluster -------------------------------------------------------------------------------

struct Cluster {
  KafkaOptions kafka;
  std::unique_ptr<KafkaAdmin> admin;
  TopicsNow now;
};

Status Refused(const KafkaOptions& kafka, const Status& status) {
  return Status::Stop(fmt::format("Kafka at {}: {}", kafka.brokers, status.message()));
}

// Adds the locations of the table: each must have a topic.
Status AddLocations(const Command& command, TopicsNow& now) {
  if (command.options.locations.empty()) return Status::Ok();
  const Result<LocationFile> table = ReadLocationFile(command.options.locations);
  if (!table.ok()) return table.status();
  for (const Location& location : table.value().locations)
    now.locations.push_back(location.location);
  return Status::Ok();
}

Result<Cluster> Look(const Command& command) {
  if (!command.options.kafka.enabled())
    return Status::Stop("give --kafka.brokers, or a --config that has it");
  Result<KafkaOptions> kafka = MakeKafkaOptions(command.options.kafka);
  if (!kafka.ok()) return kafka.status();
  Cluster cluster{.kafka = std::move(kafka).value(), .admin = nullptr, .now = {}};
  Result<std::unique_ptr<KafkaAdmin>> admin = KafkaAdmin::Open(cluster.kafka, command.timeout_ms);
  if (!admin.ok()) return admin.status();
  cluster.admin = std::move(admin).value();
  const Result<int32_t> brokers = cluster.admin->Brokers();
  if (!brokers.ok()) return Refused(cluster.kafka, brokers.status());
  cluster.now.brokers = brokers.value();
  std::vector<std::string> names = TopicNames(command.options, command.steps);
  const Result<RawTopicName> raw = RawTopicName::Parse(command.options.kafka.topic);
  if (!raw.ok()) return raw.status();
  if (raw.value().by_location()) {
    RETURN_IF_ERROR(AddLocations(command, cluster.now));
    Result<std::vector<std::string>> all = cluster.admin->Names();
    if (!all.ok()) return Refused(cluster.kafka, all.status());
    for (const std::string& name : all.value()) {
      const bool other = std::ranges::find(names, name) != names.end();
      if (raw.value().Matches(name))
        names.push_back(name);
      else if (!other && name.starts_with(raw.value().prefix()))
        cluster.now.unread.push_back(name);
    }
  }
  Result<std::vector<KafkaTopicState>> states = cluster.admin->DescribeAll(names);
  if (!states.ok()) return Refused(cluster.kafka, states.status());
  for (KafkaTopicState& state : states.value())
    cluster.now.topics.emplace(state.name, std::move(state));
  return cluster;
}

// ---- plan and apply ----------------------------------------------------------------------------

const std::vector<std::string> kDifferenceColumns = {"topic", "action", "setting",
                                                     "now",   "wanted", "note"};

Row RowOf(const TopicDifference& difference, std::string note) {
  return {difference.topic,   std::string(ToString(difference.action)),
          difference.setting, difference.now,
          difference.wanted,  std::move(note)};
}

int RunPlan(Command& command) {
  const Result<Cluster> cluster = Look(command);
  if (!cluster.ok()) return Fail("plan", cluster.status().message());
  const Result<TopicsPlan> plan = PlanTopics(command.options, command.steps, cluster.value().now);
  if (!plan.ok()) return Fail("plan", plan.status().message());
  std::vector<Row> rows;
  for (const TopicDifference& difference : plan.value().differences)
    rows.push_back(RowOf(difference, difference.note));
  if (const int failed = Print("plan", command.format, kDifferenceColumns, std::move(rows)))
    return failed;
  if (plan.value().differences.empty()) {
    fmt::print(stderr, "nothing to do\n");
    return 0;
  }
  fmt::print(stderr, "{} differences; run `sightline topics apply` to resolve them\n",
             plan.value().differences.size());
  return kDiffers;
}

// Resolves one difference. Returns whether it is resolved, and a note for people.
std::pair<bool, std::string> Apply(const Command& command, KafkaAdmin& admin,
                                   const TopicsPlan& plan, const TopicDifference& difference) {
  const std::string tail = difference.note.empty() ? "" : ": " + difference.note;
  if (difference.action == TopicAction::kByHand) return {false, "not done" + tail};
  if (difference.action == TopicAction::kLower && !command.yes)
    return {false, "not done without --yes" + tail};
  const Status done =
      difference.action == TopicAction::kMake
          ? admin.Create(plan.specs.at(difference.topic))
          : admin.Alter(difference.topic, {{difference.setting, difference.wanted}});
  if (!done.ok()) return {false, "failed: " + done.message()};
  return {true, "done" + tail};
}

// A broker answers before all brokers know of a change. So this waits until they show only `left`
// differences; then a second `apply` has nothing to do.
Status WaitSeen(const Command& command, size_t left) {
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(command.timeout_ms.v);
  while (true) {
    const Result<Cluster> cluster = Look(command);
    // A broker may know a topic by name before it knows its settings.
    if (cluster.ok()) {
      const Result<TopicsPlan> plan =
          PlanTopics(command.options, command.steps, cluster.value().now);
      if (!plan.ok()) return plan.status();
      if (plan.value().differences.size() <= left) return Status::Ok();
    }
    if (std::chrono::steady_clock::now() > until)
      return Status::Retry(
          fmt::format("after {} ms the brokers do not yet show what was done; see `plan`{}{}",
                      command.timeout_ms.v, cluster.ok() ? "" : ": ",
                      cluster.ok() ? "" : cluster.status().message()));
    std::this_thread::sleep_for(kLookAgain);
  }
}

int RunApply(Command& command) {
  const Result<Cluster> cluster = Look(command);
  if (!cluster.ok()) return Fail("apply", cluster.status().message());
  const Result<TopicsPlan> plan = PlanTopics(command.options, command.steps, cluster.value().now);
  if (!plan.ok()) return Fail("apply", plan.status().message());
  std::vector<Row> rows;
  size_t left = 0;
  for (const TopicDifference& difference : plan.value().differences) {
    auto [done, note] = Apply(command, *cluster.value().admin, plan.value(), difference);
    if (!done) ++left;
    rows.push_back(RowOf(difference, std::move(note)));
  }
  const size_t all = rows.size();
  const Status seen = all > left ? WaitSeen(command, left) : Status::Ok();
  if (const int failed = Print("apply", command.format, kDifferenceColumns, std::move(rows)))
    return failed;
  if (left > 0) return Fail("apply", fmt::format("{} of {} differences are left", left, all));
  if (!seen.ok()) return Fail("apply", seen.message());
  fmt::print(stderr, "{}\n", all == 0 ? "nothing to do" : fmt::format("{} done", all));
  return 0;
}

// ---- check -------------------------------------------------------------------------------------

struct Sample {
  int64_t records = 0;
  CameraPartitions cameras;
};

Status SampleCameras(const Command& command, const Cluster& cluster, const KafkaTopicState& topic,
                     Sample& sample) {
  Decoder decoder(command.options.pipeline.decode);
  std::string padded;
  std::vector<Event> events;
  const Status read =
      ReadNewest(cluster.kafka, topic.name, topic.partitions, command.sample, command.timeout_ms,
                 [&](const NewestRecord& record) {
                   const std::string_view value = record.value;
                   ++sample.records;
                   padded.assign(value);
                   padded.append(kDecodePadding, ' ');
                   events.clear();
                   decoder.Decode(std::string_view(padded).substr(0, value.size()), events);
                   for (const Event& event : events)
                     if (event.kind != Event::Kind::kMalformed)
                       sample.cameras[event.camera].insert({topic.name, record.partition});
                   decoder.Clear();
                 });
  return read.ok() ? read : Refused(cluster.kafka, read);
}

int RunCheck(Command& command) {
  const Result<Cluster> cluster = Look(command);
  if (!cluster.ok()) return Fail("check", cluster.status().message());
  const TopicsNow& now = cluster.value().now;
  std::vector<TopicFinding> findings = CheckTopics(command.options, command.steps, now);
  std::string sampled = "cameras were not checked: there is no raw topic";
  const Result<RawTopicName> name = RawTopicName::Parse(command.options.kafka.topic);
  Sample sample;
  int32_t partitions = 0;
  for (const auto& [topic, state] : now.topics) {
    if (!name.ok() || !name.value().Matches(topic)) continue;
    if (const Status read = SampleCameras(command, cluster.value(), state, sample); !read.ok())
      return Fail("check", read.message());
    partitions += state.partitions;
  }
  if (partitions > 0) {
    if (auto finding = CheckCameras(command.options, sample.cameras))
      findings.push_back(*std::move(finding));
    sampled = fmt::format(
        "cameras: this is only a sample, the newest {} records of each of {} partitions: {} "
        "records, {} cameras",
        command.sample, partitions, sample.records, sample.cameras.size());
  }
  std::vector<Row> rows;
  for (TopicFinding& finding : findings)
    rows.push_back({finding.topic, finding.setting, finding.value, finding.note});
  if (const int failed =
          Print("check", command.format, {"topic", "setting", "value", "finding"}, std::move(rows)))
    return failed;
  fmt::print(stderr, "{}\n", sampled);
  if (findings.empty()) return 0;
  return Fail("check", fmt::format("{} settings break a guarantee", findings.size()));
}

// ---- acls --------------------------------------------------------------------------------------

std::string InShell(const std::string& text) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("._-:=/,@+").find(c) != std::string_view::npos;
  };
  if (!text.empty() && std::ranges::all_of(text, plain)) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// Prints one command for all rights on one resource.
void PrintAclCommands(const Command& command, const std::vector<TopicRight>& rights) {
  const std::string& brokers = command.options.kafka.client.brokers;
  for (size_t i = 0; i < rights.size();) {
    std::string operations;
    const TopicRight& right = rights[i];
    for (;
         i < rights.size() && rights[i].resource == right.resource && rights[i].name == right.name;
         ++i)
      operations += " --operation " + rights[i].operation;
    fmt::print(
        "kafka-acls --bootstrap-server {} --command-config admin.properties --add "
        "--allow-principal {}{} --{} {}{}\n",
        InShell(brokers.empty() ? "BROKERS" : brokers), InShell(command.principal), operations,
        right.resource, InShell(right.name),
        right.prefixed ? " --resource-pattern-type prefixed" : "");
  }
}

int RunAcls(Command& command) {
  const std::map<std::string, RightsOf> known = {
      {"up", RightsOf::kUp},         {"count", RightsOf::kCount},
      {"join", RightsOf::kJoin},     {"transform", RightsOf::kTransform},
      {"store", RightsOf::kStore},   {"serve", RightsOf::kServe},
      {"topics", RightsOf::kTopics}, {"producer", RightsOf::kProducer},
      {"reader", RightsOf::kReader}, {"doctor", RightsOf::kDoctor},
      {"rekey", RightsOf::kRekey},   {"handover", RightsOf::kHandover}};
  const RightsOf who = known.at(command.rights_of);
  const bool copies = who == RightsOf::kRekey || who == RightsOf::kHandover;
  if (who == RightsOf::kRekey && (command.copy.from.empty() || command.copy.to.empty()))
    return Fail("acls",
                "--for rekey needs --from TOPIC and --to TOPIC, the same as `rekey` itself");
  if (who == RightsOf::kHandover && command.copy.to.empty())
    command.copy.to = command.options.kafka.topic;  // the default of `handover`
  if (!copies && !(command.copy.from + command.copy.to).empty())
    return Fail("acls", "--from and --to need --for rekey or --for handover");
  const std::vector<TopicRight> rights =
      RightsNeeded(command.options, command.steps, who, command.copy);
  if (command.format == "table") {
    PrintAclCommands(command, rights);
    return 0;
  }
  std::vector<Row> rows;
  for (const TopicRight& right : rights)
    rows.push_back({command.rights_of, command.principal, right.resource, right.name,
                    std::string(right.prefixed ? "prefixed" : "literal"), right.operation});
  return Print("acls", command.format,
               {"for", "principal", "resource_type", "resource_name", "pattern_type", "operation"},
               std::move(rows));
}

int Run(std::string_view name, Command& command, int (*run)(Command&)) {
  const Status read = ReadOptions(command.config, command.given, command.table);
  if (!read.ok()) return Fail(name, read.message());
  const Status valid = command.options.pipeline.Validate();
  if (!valid.ok()) return Fail(name, valid.message());
  const Result<Millis> timeout = ParseDuration(command.timeout);
  if (!timeout.ok()) return Fail(name, "--timeout: " + timeout.status().message());
  constexpr int64_t kDayMs = 86'400'000;
  if (timeout.value().v < 1 || timeout.value().v > kDayMs)
    return Fail(name, "--timeout must be between 1ms and 1d");
  command.timeout_ms = timeout.value();
  // The command's own last line says what went wrong.
  SetLogLevel("error");
  return run(command);
}

}  // namespace

void AddTopicsCommands(CLI::App& app, int* result) {
  auto command = std::make_shared<Command>();
  CLI::App* topics = app.add_subcommand("topics", "Create and check the topics in Kafka");
  topics->require_subcommand(1);
  auto add = [&](const char* name, const char* help, int (*run)(Command&)) {
    CLI::App* sub = topics->add_subcommand(name, help);
    sub->add_option("--config", command->config,
                    "The configuration file (TOML). `sightline options` prints one.");
    sub->add_option("--format", command->format, "The format of the output: table or json.")
        ->check(CLI::IsMember({"table", "json"}))
        ->capture_default_str();
    sub->add_flag("--steps", command->steps,
                  "Include the topics between `count`, `join`, `transform` and `store`.");
    AddOptions(*sub, command->table, command->given, [](std::string_view key) {
      return key.starts_with("kafka.") || key.starts_with("pipeline.") || key == "locations";
    });
    sub->callback([name, command, run, result] { *result = Run(name, *command, run); });
    return sub;
  };
  CLI::App* plan = add("plan", "Print what `apply` would do, and change nothing", RunPlan);
  plan->footer(
      "Examples:\n"
      "  sightline topics plan --kafka.brokers kafka1:9092\n"
      "  sightline topics plan --config sightline.toml --steps --format json\n\n"
      "The exit code is 0 if there is nothing to do, 2 if there are differences, and 1 if the\n"
      "cluster did not answer.");
  CLI::App* apply = add("apply", "Create missing topics and change settings that differ", RunApply);
  apply->add_flag("--yes", command->yes,
                  "Also shorten retention and lower min.insync.replicas where the options say so.");
  apply->footer(
      "Examples:\n"
      "  sightline topics apply --config sightline.toml\n"
      "  sightline topics apply --kafka.topic 'raw_camera_events_<location>' --locations b.csv\n\n"
      "`apply` never deletes a topic, adds partitions or moves replicas. The exit code is 1 if\n"
      "something is left to do.");
  CLI::App* check = add("check", "List the settings that break a guarantee", RunCheck);
  check
      ->add_option(
          "--sample", command->sample,
          "The number of newest records of each raw partition that are searched for cameras "
          "in two partitions.")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  check->footer(
      "Examples:\n"
      "  sightline topics check --config sightline.toml\n"
      "  sightline topics check --kafka.brokers kafka1:9092 --sample 100000\n\n"
      "The exit code is 1 if there is such a setting.");
  for (CLI::App* sub : {plan, apply, check})
    sub->add_option("--timeout", command->timeout, "The timeout of each request, such as 10s.")
        ->capture_default_str();
  CLI::App* acls = add("acls", "Print the minimal rights that a process needs", RunAcls);
  acls->footer(
      "Examples:\n"
      "  sightline topics acls --config sightline.toml --principal User:sightline\n"
      "  sightline topics acls --for rekey --from detections --to raw_camera_events");
  acls->add_option("--principal", command->principal,
                   "The principal that gets the rights, as Kafka writes it.")
      ->capture_default_str();
  acls->add_option(
          "--for", command->rights_of,
          "The process that needs the rights: up, count, join, transform, store, serve, topics "
          "(plan, apply, check), producer (of raw events), reader (of outputs), doctor, rekey or "
          "handover.")
      ->check(CLI::IsMember({"up", "count", "join", "transform", "store", "serve", "topics",
                             "producer", "reader", "doctor", "rekey", "handover"}))
      ->capture_default_str();
  acls->add_option("--from", command->copy.from, "The topic that `rekey` or `handover` reads.");
  acls->add_option("--to", command->copy.to, "The topic that `rekey` or `handover` writes.");
  topics->footer(
      "Examples:\n"
      "  sightline topics plan --kafka.brokers kafka1:9092\n"
      "  sightline topics apply --config sightline.toml\n"
      "  sightline topics apply --kafka.topic 'raw_camera_events_<location>' --locations b.csv\n"
      "  sightline topics acls --config sightline.toml --principal User:sightline");
}

}  // namespace sightline
