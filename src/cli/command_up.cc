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

// Of a process that runs until SIGTERM.
void AddProcessOptions(CLI::App& to, Command& command, const WantedOptions& wanted) {
  to.add_option("--config", command.config, "TOML file; `sightline options` prints one");
  to.add_flag("--insecure", command.options.insecure,
              "allow listening on an address that other machines can reach");
  AddOptions(to, command.table, command.given, wanted);
}

void PrintOptions(const std::vector<Option>& table) {
  fmt::print(
      "# Every option with its default. Save as sightline.toml, change what you want, and run\n"
      "# sightline up --config sightline.toml\n");
  std::string section;
  for (const bool sections : {false, true})
    for (const Option& option : table) {
      const size_t dot = option.key.find('.');
      if ((dot != std::string::npos) != sections) continue;
      if (sections && option.key.substr(0, dot) != section)
        fmt::print("\n[{}]\n", section = option.key.substr(0, dot));
      const std::string name = sections ? option.key.substr(dot + 1) : option.key;
      const std::string value = option.get();
      fmt::print("# {} ({})\n{}{} = \"{}\"\n", option.help, option.unit, value.empty() ? "# " : "",
                 name, value);
    }
}

void AddSteps(CLI::App& app, const std::shared_ptr<Command>& command, int* result) {
  const std::vector<std::string_view> common = {
      "data", "listen", "locations", "log_level", "server.connections_max", "alerts.", "kafka."};
  CLI::App* join = app.add_subcommand(
      "join", "Put the locations' names to the counts of `count`, from topic to topic");
  AddProcessOptions(*join, *command, BeginningWith(common));
  join->footer(
      "Examples:\n"
      "  sightline count --kafka 127.0.0.1:9092 --kafka.counts_topic item_counts --data a\n"
      "  sightline join --kafka 127.0.0.1:9092 --locations locations.csv --data b \\\n"
      "      --listen 127.0.0.1:8083\n\n"
      "Reads kafka.item_counts_topic, writes kafka.counts_topic, exactly once. Any number may "
      "run:\n"
      "they share the partitions.");
  join->callback([command, result] { *result = Run(*command, "join", RunJoin); });

  CLI::App* transform =
      app.add_subcommand("transform", "Make sealed segments for the lake of counts with names");
  AddProcessOptions(*transform, *command, BeginningWith(common));
  transform->footer(
      "Examples:\n"
      "  sightline transform --kafka 127.0.0.1:9092 --listen 127.0.0.1:8084\n\n"
      "Reads kafka.counts_topic, writes kafka.lake_rows_topic, exactly once, at the latest a "
      "minute\n"
      "and a half behind. Any number may run: they share the partitions.");
  transform->callback([command, result] { *result = Run(*command, "transform", RunTransform); });

  std::vector<std::string_view> stored = common;
  stored.insert(stored.end(), {"lake.", "pipeline.window_size"});
  CLI::App* store = app.add_subcommand("store", "Write the segments of `transform` into the lake");
  AddProcessOptions(*store, *command, BeginningWith(stored));
  store->footer(
      "Examples:\n"
      "  sightline store --kafka 127.0.0.1:9092 --lake.dir /srv/sightline/lake \\\n"
      "      --listen 127.0.0.1:8085\n\n"
      "Reads kafka.lake_rows_topic; each segment comes into the lake once. Any number may run on "
      "one\n"
      "lake: they share the partitions.");
  store->callback([command, result] { *result = Run(*command, "store", RunStore); });
}

}  // namespace

void AddUpCommands(CLI::App& app, int* result) {
  auto command = std::make_shared<Command>();
  CLI::App* up =
      app.add_subcommand("up", "Run everything in one process: ingest, counts, live page");
  AddProcessOptions(*up, *command, [](std::string_view) { return true; });
  up->add_flag("--demo", command->options.demo,
               "with cameras: recorded pedestrians shifted to now, and a simulated city");
  up->footer(
      "Examples:\n"
      "  sightline up --demo                       a moving page on http://127.0.0.1:8080\n"
      "  sightline up --data /srv/sightline --locations locations.csv\n"
      "  sightline up --kafka 127.0.0.1:9092        raw events from a topic, counts to topics\n"
      "  curl --data-binary @detections.ndjson http://127.0.0.1:8080/v1/detections\n\n"
      "SIGTERM or Ctrl+C: drained and committed within 5 s.");
  up->callback([command, result] { *result = Run(*command, "up", RunUp); });

  CLI::App* serve = app.add_subcommand(
      "serve", "The page and the API over the counts that other processes write to Kafka");
  AddProcessOptions(
      *serve, *command,
      BeginningWith({"data", "listen", "locations", "log_level", "web_dir", "log.queue_max",
                     "server.", "live.", "lake.dir", "query.", "kafka.", "alerts.", "pipeline."}));
  serve->footer(
      "Examples:\n"
      "  sightline serve --kafka 127.0.0.1:9092 --listen 127.0.0.1:8081\n\n"
      "Any number may run: each reads the whole topic. POST /v1/detections goes to the raw topic.\n"
      "With lake.dir, where `count` writes, SQL and questions about the past are answered, too.\n"
      "pipeline.pane_size and window_size must be those of the counting processes.");
  serve->callback([command, result] { *result = Run(*command, "serve", RunServe); });

  CLI::App* count = app.add_subcommand(
      "count", "Count a topic alone, shared with other such processes, into topics exactly once");
  AddProcessOptions(
      *count, *command,
      BeginningWith({"data", "listen", "locations", "log_level", "engine.",
                     "server.connections_max", "kafka.", "lake.", "alerts.", "pipeline."}));
  count->footer(
      "Examples:\n"
      "  sightline count --kafka 127.0.0.1:9092 --data a --listen 127.0.0.1:8082 \\\n"
      "      --engine.checkpoint_dir /srv/sightline/checkpoints --lake.dir /srv/sightline/lake\n\n"
      "Start as many as there are partitions at most; each takes its share, and those of one that\n"
      "ends or dies go to the others. `serve` shows what they count. The lake is written only "
      "when\n"
      "lake.dir is given; it may be shared, too.");
  count->callback([command, result] { *result = Run(*command, "count", RunCount); });

  AddSteps(app, command, result);

  CLI::App* options = app.add_subcommand("options", "Print every option of `up` as a config file");
  options->footer("Example:\n  sightline options > sightline.toml");
  options->callback([command] { PrintOptions(command->table); });

  CLI::App* explain = app.add_subcommand("explain", "Say in plain words what the pipeline counts");
  explain->add_option("--config", command->config, "TOML file");
  explain->footer("Example:\n  sightline explain --config sightline.toml");
  explain->callback([command, result] {
    const Status status = Resolve(*command);
    if (!status.ok()) {
      *result = Fail(status.message());
      return;
    }
    fmt::print("{}", command->options.pipeline.Explain());
  });
}

}  // namespace sightline
