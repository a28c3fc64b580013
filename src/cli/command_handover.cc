#include "cli/command_handover.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admin/handover.h"
#include "admin/handover_plan.h"
#include "base/log.h"
#include "cli/command_options.h"
#include "config/options.h"
#include "operators/decode.h"
#include "processes/process.h"

namespace sightline {
namespace {

namespace json = boost::json;

// Of the options of `up`, those of the old pipeline and of the cluster.
const std::vector<std::string_view> kWanted = {"data",   "log_level",    "lake.dir",
                                               "kafka.", "lake.enabled", "pipeline."};

struct Command {
  Settings options;
  std::vector<Option> table = OptionTable(&options);
  std::string config;
  std::map<std::string, std::string> given;  // on the command line, by key
  HandoverOptions handover;
  std::string at, by = "camera", format = "text";
  bool dry_run = false;
};

int Fail(const std::string& message) {
  fmt::print(stderr, "sightline handover: {}\n", message);
  return 1;
}

Status Resolve(Command& command) {
  RETURN_IF_ERROR(ReadOptions(command.config, command.given, command.table));
  Settings& options = command.options;
  HandoverOptions& handover = command.handover;
  RETURN_IF_ERROR(options.pipeline.Validate());
  if (options.kafka.client.brokers.empty())
    return Status::Stop("handover writes a topic of Kafka: say --kafka host:port");
  if (!ParseTime(command.at, TimeUnit::kMillis, &handover.at))
    return Status::Stop(fmt::format(
        "--at '{}' is no time: write 2026-11-22T12:00:00Z or milliseconds", command.at));
  if (handover.to.empty() && !handover.from.empty())
    return Status::Stop("say with --to which topic is written");
  if (handover.to.empty()) handover.to = options.kafka.topic;
  if (handover.from == handover.to)
    return Status::Stop(
        fmt::format("'{}' cannot be handed over to itself: partitions are never "
                    "added in place; give two topics",
                    handover.to));
  if (handover.until_end && handover.from.empty())
    return Status::Stop("--until-end is for a topic: a data folder is copied to its end always");
  handover.by = command.by == "camera" ? RekeyBy::kCamera : RekeyBy::kDetection;
  // What goes wrong is in the command's own last line; --log_level says otherwise.
  if (!SetLogLevel(command.given["log_level"].empty() ? "error" : options.log_level))
    return Status::Stop(
        fmt::format("log_level '{}' is none of debug, info, warning, error", options.log_level));
  return Status::Ok();
}

std::string PlanText(const HandoverPlan& plan) {
  std::string text;
  const auto line = [&text](std::string said) { text += said + "\n"; };
  for (const HandoverCheck& check : plan.checks)
    line(fmt::format("{:<8} {:<12} {}", ToString(check.verdict), check.subject, check.said));
  line(fmt::format("to copy: about {} records, {}{}", plan.records, FormatBytes(plan.bytes),
                   plan.first == kNoAppendTime
                       ? ""
                       : fmt::format(", of {} to {}", TimeText(EventTime{plan.first.v}),
                                     TimeText(EventTime{plan.last.v}))));
  line(fmt::format("the new pipeline's options: {}", fmt::join(plan.options, " ")));
  int number = 0;
  for (const std::string& step : plan.steps) line(fmt::format("{}. {}", ++number, step));
  return text;
}

json::array Texts(const std::vector<std::string>& texts) {
  json::array array;
  for (const std::string& text : texts) array.emplace_back(text);
  return array;
}

json::object PlanJson(const HandoverPlan& plan) {
  json::array checks;
  for (const HandoverCheck& check : plan.checks)
    checks.push_back(json::object{
        {"verdict", ToString(check.verdict)}, {"subject", check.subject}, {"said", check.said}});
  json::object copy = {{"records", plan.records}, {"bytes", plan.bytes}};
  if (plan.first != kNoAppendTime) {
    copy["first"] = TimeText(EventTime{plan.first.v});
    copy["last"] = TimeText(EventTime{plan.last.v});
  }
  return {{"ok", plan.ok()},
          {"checks", std::move(checks)},
          {"copy", std::move(copy)},
          {"options", Texts(plan.options)},
          {"steps", Texts(plan.steps)}};
}

int Print(const std::string& text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0
             ? 0
             : Fail("cannot write to standard output");
}

int PrintEnd(const KafkaCopyStats& stats, const std::string& format) {
  if (format == "json")
    return Print(json::serialize(json::object{{"copied", stats.read}, {"written", stats.written}}) +
                 "\n");
  return Print(fmt::format("{} records copied, as {}: everything is in the topic\n", stats.read,
                           stats.written));
}

int Run(Command& command) {
  BlockSignals();
  if (const Status status = Resolve(command); !status.ok()) return Fail(status.message());
  const Result<std::unique_ptr<Handover>> opened =
      Handover::Open(command.options, command.handover);
  if (!opened.ok()) return Fail(opened.status().message());
  const Result<HandoverFacts> facts = opened.value()->Look();
  if (!facts.ok()) return Fail(facts.status().message());
  const HandoverPlan plan = PlanHandover(facts.value());
  const bool as_json = command.format == "json";
  if (const int bad = Print(as_json ? json::serialize(PlanJson(plan)) + "\n" : PlanText(plan));
      bad != 0)
    return bad;
  if (!plan.ok()) return Fail("it cannot go on; what failed says what to do");
  if (command.dry_run) return 0;
  const Result<KafkaCopyStats> copied = opened.value()->Copy(
      [](const std::string& line) { fmt::print(stderr, "sightline handover: {}\n", line); });
  if (copied.ok()) return PrintEnd(copied.value(), command.format);
  // Told to stop: a live copy has no other end.
  const bool is_live = !command.handover.from.empty() && !command.handover.until_end;
  if (copied.status().code() == StatusCode::kRetry && is_live) return 0;
  return Fail(copied.status().message());
}

}  // namespace

void AddHandoverCommand(CLI::App& app, int* result) {
  auto command = std::make_shared<Command>();
  CLI::App* handover = app.add_subcommand(
      "handover",
      "Hand over to a pipeline on another topic: more partitions, or a data folder to "
      "Kafka");
  handover
      ->add_option("--at", command->at,
                   "T: the old pipeline counts until then, the new one from then on; RFC 3339 or "
                   "Unix ms")
      ->required();
  handover->add_option("--from", command->handover.from,
                       "topic of the old pipeline; by default the data folder, whose server is "
                       "stopped");
  handover->add_option("--to", command->handover.to,
                       "topic of the new pipeline; of a data folder by default kafka.topic");
  handover->add_option("--by", command->by, "the key of its records: camera or detection_oid")
      ->check(CLI::IsMember({"camera", "detection_oid"}))
      ->capture_default_str();
  handover->add_flag("--until-end", command->handover.until_end,
                     "of a topic: end when all is copied that was there at the start; else until "
                     "SIGTERM");
  handover->add_flag("--dry-run", command->dry_run,
                     "check and say everything, copy nothing; exit code 1 if it could not go on");
  handover->add_option("--format", command->format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  handover->add_option("--config", command->config, "TOML file of the old pipeline");
  AddOptions(*handover, command->table, command->given, BeginningWith(kWanted));
  handover->footer(
      "Examples:\n"
      "  sightline handover --at 2026-11-22T12:00:00Z --data /srv/sightline --kafka 127.0.0.1:9092 "
      "\\\n"
      "      --to raw_camera_events --dry-run\n"
      "  sightline handover --at 2026-11-22T12:00:00Z --from raw_camera_events --to raw_24 \\\n"
      "      --kafka 127.0.0.1:9092 --config old.toml\n\n"
      "Give the options of the old pipeline: T must begin a window, and the old pipeline must have "
      "run\n"
      "with pipeline.count_until T since before that time. After a kill the same command goes on; "
      "once\n"
      "everything is copied it has nothing to do. docs/SEMANTICS.md, \"Hand-over\".");
  handover->callback([command, result] { *result = Run(*command); });
}

}  // namespace sightline
