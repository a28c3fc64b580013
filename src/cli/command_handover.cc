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

// The options of `up` that describe the old pipeline and the cluster.
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
  if (!options.kafka.enabled())
    return Status::Stop("handover writes to a topic in Kafka: give --kafka host:port");
  if (!ParseTime(command.at, TimeUnit::kMillis, &handover.at))
    return Status::Stop(fmt::format(
        "--at '{}' is not a time: write 2026-11-22T12:00:00Z or milliseconds", command.at));
  if (handover.to.empty() && !handover.from.empty())
    return Status::Stop("give the topic to write with --to");
  if (handover.to.empty()) handover.to = options.kafka.topic;
  if (handover.from == handover.to)
    return Status::Stop(
        fmt::format("'{}' cannot be handed over to itself, because partitions are never "
                    "added in place: give two topics",
                    handover.to));
  if (handover.until_end && handover.from.empty())
    return Status::Stop(
        "--until-end is only for a topic: a data folder is always copied to its end");
  handover.by = command.by == "camera" ? RekeyBy::kCamera : RekeyBy::kDetection;
  // The command's own last line says what went wrong, so the log is silent unless --log_level is
  // given.
  if (!SetLogLevel(command.given["log_level"].empty() ? "error" : options.log_level))
    return Status::Stop(
        fmt::format("log_level '{}' is not one of debug, info, warning, error", options.log_level));
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
  return Print(fmt::format("{} records were copied as {}: everything is in the topic\n", stats.read,
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
  if (!plan.ok()) return Fail("the hand-over cannot start: each failed check says what to do");
  if (command.dry_run) return 0;
  const Result<KafkaCopyStats> copied = opened.value()->Copy(
      [](const std::string& line) { fmt::print(stderr, "sightline handover: {}\n", line); });
  if (copied.ok()) return PrintEnd(copied.value(), command.format);
  // A live copy ends only when it is asked to stop, so that is not a failure.
  const bool is_live = !command.handover.from.empty() && !command.handover.until_end;
  if (copied.status().code() == StatusCode::kRetry && is_live) return 0;
  return Fail(copied.status().message());
}

}  // namespace

void AddHandoverCommand(CLI::App& app, int* result) {
  auto command = std::make_shared<Command>();
  CLI::App* handover = app.add_subcommand("handover",
                                          "Hand over to a new pipeline: a topic to one with more "
                                          "partitions, or a data folder to Kafka");
  handover
      ->add_option(
          "--at", command->at,
          "The time T of the hand-over, RFC 3339 or Unix ms. The old pipeline counts events "
          "before T, the new one those from T on.")
      ->required();
  handover->add_option("--from", command->handover.from,
                       "The topic of the old pipeline. By default the data folder is handed over; "
                       "its server must be stopped.");
  handover->add_option("--to", command->handover.to,
                       "The topic of the new pipeline. For a data folder the default is "
                       "kafka.topic.");
  handover
      ->add_option("--by", command->by, "The key of the copied records: camera or detection_oid.")
      ->check(CLI::IsMember({"camera", "detection_oid"}))
      ->capture_default_str();
  handover->add_flag("--until-end", command->handover.until_end,
                     "End when everything that was in the topic at the start is copied. By default "
                     "the copy of a topic runs until SIGTERM.");
  handover->add_flag(
      "--dry-run", command->dry_run,
      "Check everything and print the plan, but copy nothing. The exit code is 1 if a "
      "check failed.");
  handover->add_option("--format", command->format, "The format of the output: text or json.")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  handover->add_option("--config", command->config,
                       "The configuration file (TOML) of the old pipeline.");
  AddOptions(*handover, command->table, command->given, BeginningWith(kWanted));
  handover->footer(
      "Examples:\n"
      "  sightline handover --at 2026-11-22T12:00:00Z --data /srv/sightline --kafka 127.0.0.1:9092 "
      "\\\n"
      "      --to raw_camera_events --dry-run\n"
      "  sightline handover --at 2026-11-22T12:00:00Z --from raw_camera_events --to raw_24 \\\n"
      "      --kafka 127.0.0.1:9092 --config old.toml\n\n"
      "Give the options of the old pipeline. T must begin a window, and the old pipeline must run\n"
      "with pipeline.count_until T since before T. If the command is killed, the same command\n"
      "continues where it stopped. The rule is in docs/SEMANTICS.md, \"Hand-over\", the steps are "
      "in\n"
      "docs/OPERATIONS.md.");
  handover->callback([command, result] { *result = Run(*command); });
}

}  // namespace sightline
