#include "cli/command_up.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command_options.h"
#include "processes/component_options.h"
#include "processes/count.h"
#include "processes/process.h"
#include "processes/serve.h"
#include "processes/step_process.h"
#include "processes/up.h"

namespace sightline {
namespace {

struct Command {
  Settings options;
  std::vector<Option> table = OptionTable(&options);
  std::string config;
  std::map<std::string, std::string> given;  // on the command line, by key
};

int Fail(const std::string& message, const char* command = "up") {
  fmt::print(stderr, "sightline {}: {}\n", command, message);
  return 1;
}

Status Resolve(Command& command) {
  RETURN_IF_ERROR(ReadOptions(command.config, command.given, command.table));
  RETURN_IF_ERROR(command.options.pipeline.Validate());
  RETURN_IF_ERROR(CheckListen(command.options));
  return ApplyLogLevel(command.options);
}

using RunCommand = Status (*)(const Settings&, const std::function<void(const std::string&)>&);

int Run(Command& command, const char* name, RunCommand run) {
  BlockSignals();
  if (const Status status = Resolve(command); !status.ok()) return Fail(status.message(), name);
  const Status status = run(command.options, [](const std::string& url) {
    fmt::print("Sightline is at {}  (Ctrl+C stops it)\n", url);
    std::fflush(stdout);
  });
  return status.ok() ? 0 : Fail(status.message(), name);
}

// Adds the options of a process that runs until SIGTERM.
void AddProcessOptions(CLI::App& to, Command& command, const WantedOptions& wanted) {
  to.add_option("--config", command.config,
                "The configuration file (TOML). `sightline options` prints one.");
  to.add_flag("--insecure", command.options.insecure,
              "Allow the process to listen on an address that other machines can reach.");
  AddOptions(to, command.table, command.given, wanted);
}

void PrintOption(const Option& option, const std::string& name, bool is_comment) {
  const std::string value = option.get();
  fmt::print("# {} ({})\n{}{} = \"{}\"\n", option.help, option.unit,
             is_comment || value.empty() ? "# " : "", name, value);
}

// A section that the file may have many times. It has no default.
void PrintSection(const Option& option) {
  fmt::print("\n# {}\n# [{}]\n", option.help, option.key);
  for (const Option& row : option.section("NAME"))
    PrintOption(row, row.key.substr(option.key.size() + 1), /*is_comment=*/true);
}

void PrintOptions(const std::vector<Option>& table) {
  fmt::print(
      "# Every option with its default. Save this as sightline.toml, change what you want, and "
      "run\n"
      "# sightline up --config sightline.toml\n"
      "# A duration is a whole number and a unit: ms, s, m, h or d. Only 0 needs no unit.\n");
  std::string section;
  for (const bool sections : {false, true})
    for (const Option& option : table) {
      const size_t dot = option.key.find('.');
      if ((dot != std::string::npos) != sections) continue;
      if (option.section) {
        PrintSection(option);
        continue;
      }
      if (sections && option.key.substr(0, dot) != section)
        fmt::print("\n[{}]\n", section = option.key.substr(0, dot));
      const std::string name = sections ? option.key.substr(dot + 1) : option.key;
      PrintOption(option, name, /*is_comment=*/false);
    }
}

void AddSteps(CLI::App& app, const std::shared_ptr<Command>& command, int* result) {
  const std::vector<std::string_view> common = {
      "data", "listen", "locations", "log_level", "server.connections_max", "alerts.", "kafka."};
  CLI::App* join = app.add_subcommand(
      "join", "Add the locations' names to the counts of `count`, from topic to topic");
  AddProcessOptions(*join, *command, BeginningWith(common));
  join->footer(
      "Examples:\n"
      "  sightline count --kafka 127.0.0.1:9092 --kafka.counts_topic item_counts --data a\n"
      "  sightline join --kafka 127.0.0.1:9092 --locations locations.csv --data b \\\n"
      "      --listen 127.0.0.1:8083\n\n"
      "Reads kafka.item_counts_topic and writes kafka.counts_topic, exactly once. You may run any\n"
      "number of `join` processes: they share the partitions.");
  join->callback([command, result] { *result = Run(*command, "join", RunJoin); });

  CLI::App* transform =
      app.add_subcommand("transform", "Turn counts with names into sealed segments for the lake");
  AddProcessOptions(*transform, *command, BeginningWith(common));
  transform->footer(
      "Examples:\n"
      "  sightline transform --kafka 127.0.0.1:9092 --listen 127.0.0.1:8084\n\n"
      "Reads kafka.counts_topic and writes kafka.lake_rows_topic, exactly once. It seals a "
      "segment\n"
      "at most one and a half times kafka.group_interval after its first count. You may run any\n"
      "number of `transform` processes: they share the partitions.");
  transform->callback([command, result] { *result = Run(*command, "transform", RunTransform); });

  std::vector<std::string_view> stored = common;
  stored.insert(stored.end(), {"lake.", "pipeline.window_size"});
  CLI::App* store = app.add_subcommand("store", "Write the segments of `transform` into the lake");
  AddProcessOptions(*store, *command, BeginningWith(stored));
  store->footer(
      "Examples:\n"
      "  sightline store --kafka 127.0.0.1:9092 --lake.dir /srv/sightline/lake \\\n"
      "      --listen 127.0.0.1:8085\n\n"
      "Reads kafka.lake_rows_topic and commits each segment to the lake once. You may run any\n"
      "number of `store` processes on one lake: they share the partitions.");
  store->callback([command, result] { *result = Run(*command, "store", RunStore); });
}

}  // namespace

void AddUpCommands(CLI::App& app, int* result) {
  auto command = std::make_shared<Command>();
  CLI::App* up =
      app.add_subcommand("up", "Run everything in one process: ingest, counting, page and API");
  AddProcessOptions(*up, *command, [](std::string_view) { return true; });
  up->add_flag("--demo", command->options.demo,
               "Also play back recorded pedestrians, shifted to the present, and simulate a city.");
  up->footer(
      "Examples:\n"
      "  sightline up --demo                        a moving page on http://127.0.0.1:8080\n"
      "  sightline up --data /srv/sightline --locations locations.csv\n"
      "  sightline up --kafka 127.0.0.1:9092        raw events from a topic, counts to topics\n"
      "  curl --data-binary @detections.ndjson http://127.0.0.1:8080/v1/detections\n\n"
      "On SIGTERM or Ctrl+C, the process drains and commits within 5 s.");
  up->callback([command, result] { *result = Run(*command, "up", RunUp); });

  CLI::App* serve = app.add_subcommand(
      "serve", "Serve the page and the API from the counts that other processes publish to Kafka");
  AddProcessOptions(
      *serve, *command,
      BeginningWith({"data", "listen", "locations", "log_level", "web_dir", "log.queue_max",
                     "server.", "live.", "lake.dir", "query.", "kafka.", "alerts.", "pipeline."}));
  serve->footer(
      "Examples:\n"
      "  sightline serve --kafka 127.0.0.1:9092 --listen 127.0.0.1:8081\n\n"
      "You may run any number of `serve` processes: each reads the whole topic. Posts to\n"
      "/v1/detections go to the raw topic. If lake.dir names the lake of `count` or `store`, "
      "`serve`\n"
      "also answers SQL and questions about the past. pipeline.pane_size and pipeline.window_size\n"
      "must be those of the counting processes.");
  serve->callback([command, result] { *result = Run(*command, "serve", RunServe); });

  CLI::App* count = app.add_subcommand(
      "count", "Count a topic, shared with other `count` processes, and publish exactly once");
  AddProcessOptions(
      *count, *command,
      BeginningWith({"data", "listen", "locations", "log_level", "engine.",
                     "server.connections_max", "kafka.", "lake.", "alerts.", "pipeline."}));
  count->footer(
      "Examples:\n"
      "  sightline count --kafka 127.0.0.1:9092 --data a --listen 127.0.0.1:8082 \\\n"
      "      --engine.checkpoint_uri /srv/sightline/checkpoints --lake.dir /srv/sightline/lake\n\n"
      "Start at most as many `count` processes as there are partitions. They share the "
      "partitions,\n"
      "and take over those of a process that ends or dies. `serve` shows what they count. They\n"
      "write the lake only if lake.dir is given; it may be shared, too.");
  count->callback([command, result] { *result = Run(*command, "count", RunCount); });

  AddSteps(app, command, result);

  CLI::App* options = app.add_subcommand("options", "Print every option of `up` as a config file");
  options->footer("Example:\n  sightline options > sightline.toml");
  options->callback([command] { PrintOptions(command->table); });

  CLI::App* explain =
      app.add_subcommand("explain", "Explain in plain words what the pipeline counts");
  explain->add_option("--config", command->config,
                      "The configuration file (TOML); by default all options have their defaults.");
  explain->footer("Example:\n  sightline explain --config sightline.toml");
  explain->callback([command, result] {
    const Status status = Resolve(*command);
    if (!status.ok()) {
      *result = Fail(status.message());
      return;
    }
    fmt::print("{}{}", command->options.pipeline.Explain(),
               ExplainQueryWorkers(command->options.query));
  });
}

}  // namespace sightline
