#include "cli/command_rekey.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "admin/rekey.h"
#include "base/log.h"
#include "cli/command_options.h"
#include "config/options.h"
#include "operators/decode.h"
#include "processes/process.h"

namespace sightline {
namespace {

// The options of `up` that have a meaning here.
const std::vector<std::string_view> kWanted = {"data",
                                               "listen",
                                               "log_level",
                                               "server.connections_max",
                                               "alerts.",
                                               "kafka.",
                                               "pipeline.timestamp_unit"};

struct Command {
  Settings options;
  std::vector<Option> table = OptionTable(&options);
  std::string config;
  std::map<std::string, std::string> given;  // on the command line, by key
  RekeyOptions rekey;
  std::string by = "camera", start_at;
};

int Fail(const std::string& message) {
  fmt::print(stderr, "sightline rekey: {}\n", message);
  return 1;
}

Status Resolve(Command& command) {
  RETURN_IF_ERROR(ReadOptions(command.config, command.given, command.table));
  Settings& options = command.options;
  RekeyOptions& rekey = command.rekey;
  if (!options.kafka.enabled())
    return Status::Stop("rekey reads and writes topics in Kafka: give --kafka host:port");
  if (rekey.from == rekey.to)
    return Status::Stop(
        fmt::format("'{}' cannot be copied into itself: give two topics", rekey.from));
  RETURN_IF_ERROR(CheckListen(options));
  RETURN_IF_ERROR(ApplyLogLevel(options));
  rekey.by = command.by == "camera" ? RekeyBy::kCamera : RekeyBy::kDetection;
  if (command.start_at.empty()) return Status::Ok();
  EventTime time;
  if (!ParseTime(command.start_at, TimeUnit::kMillis, &time))
    return Status::Stop(
        fmt::format("--start-at '{}' is not a time: write 2026-11-22T12:00:00Z or milliseconds",
                    command.start_at));
  rekey.start_at = AppendTime{time.v};
  return Status::Ok();
}

int Run(Command& command) {
  BlockSignals();
  if (const Status status = Resolve(command); !status.ok()) return Fail(status.message());
  const Status status =
      RunRekey(command.options, command.rekey, [&command](const std::string& url) {
        fmt::print("Copying '{}' into '{}'; metrics are at {}/metrics  (Ctrl+C stops it)\n",
                   command.rekey.from, command.rekey.to, url);
        std::fflush(stdout);
      });
  return status.ok() ? 0 : Fail(status.message());
}

}  // namespace

void AddRekeyCommand(CLI::App& app, int* result) {
  auto command = std::make_shared<Command>();
  CLI::App* rekey = app.add_subcommand(
      "rekey",
      "Copy a topic that has other keys into one that is keyed by camera or detection_oid");
  rekey->add_option("--by", command->by, "The new key: camera or detection_oid.")
      ->check(CLI::IsMember({"camera", "detection_oid"}))
      ->capture_default_str();
  rekey->add_option("--from", command->rekey.from, "The topic to read.")->required();
  rekey
      ->add_option("--to", command->rekey.to,
                   "The topic to write. It may have any number of partitions.")
      ->required();
  rekey->add_option("--start-at", command->start_at,
                    "The append time from which to copy if nothing is copied yet, RFC 3339 or Unix "
                    "ms. The default is the beginning of the topic.");
  rekey->add_flag("--until-end", command->rekey.until_end,
                  "End when everything that was in the topic at the start is copied.");
  rekey->add_option("--config", command->config,
                    "The configuration file (TOML). `sightline options` prints one.");
  rekey->add_flag("--insecure", command->options.insecure,
                  "Allow the process to listen on an address that other machines can reach.");
  AddOptions(*rekey, command->table, command->given, BeginningWith(kWanted));
  rekey->footer(
      "Examples:\n"
      "  sightline rekey --kafka 127.0.0.1:9092 --from detections --to raw_camera_events \\\n"
      "      --listen 127.0.0.1:8086\n"
      "  sightline rekey --kafka 127.0.0.1:9092 --from old --to new --by detection_oid "
      "--until-end\n"
      "  sightline rekey --kafka 127.0.0.1:9092 --from old --to new "
      "--start-at 2026-11-22T00:00:00Z\n\n"
      "Use this if producers do not always put a camera into the same partition. `rekey` merges "
      "all\n"
      "partitions in order of append time and writes each record exactly once. If it is killed, "
      "the\n"
      "same command continues where it stopped. Kafka's own tools show its lag (consumer group\n"
      "<kafka.deployment>-rekey-<to>). A second `rekey` to the same topic takes over, and the "
      "first\n"
      "one ends.");
  rekey->callback([command, result] { *result = Run(*command); });
}

}  // namespace sightline
