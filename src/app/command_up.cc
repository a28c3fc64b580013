#include "app/command_up.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <map>
#include <memory>

#include "app/up.h"
#include "base/log.h"

namespace sightline {
namespace {

struct Command {
  UpOptions options;
  std::vector<Option> table = OptionTable(&options);
  std::string config;
  std::map<std::string, std::string> given;  // on the command line, by key
};

int Fail(const std::string& message) {
  fmt::print(stderr, "sightline up: {}\n", message);
  return 1;
}

Status Resolve(Command& command) {
  RETURN_IF_ERROR(ReadOptions(command.config, command.given, command.table));
  RETURN_IF_ERROR(command.options.pipeline.Validate());
  const Result<ListenAddress> listen = ParseListen(command.options.listen);
  if (!listen.ok()) return listen.status();
  if (!listen.value().is_loopback && !command.options.insecure)
    return Status::Stop(fmt::format(
        "'{}' can be reached from other machines and there is no access control yet: listen on "
        "127.0.0.1 (and put a proxy in front), or say --insecure if that is what you want",
        command.options.listen));
  if (!SetLogLevel(command.options.log_level))
    return Status::Stop(fmt::format("log_level '{}' is none of debug, info, warning, error",
                                    command.options.log_level));
  return Status::Ok();
}

int Up(Command& command) {
  // Every thread inherits this mask: the signals are taken by sigtimedwait() in RunUp().
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  if (const Status status = Resolve(command); !status.ok()) return Fail(status.message());
  const Status status = RunUp(command.options, [](const std::string& url) {
    fmt::print("Sightline is at {}  (Ctrl+C stops it)\n", url);
    std::fflush(stdout);
  });
  return status.ok() ? 0 : Fail(status.message());
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

}  // namespace

void AddUpCommands(CLI::App& app, int* result) {
  auto command = std::make_shared<Command>();
  CLI::App* up =
      app.add_subcommand("up", "Run everything in one process: ingest, counts, live page");
  up->add_option("--config", command->config, "TOML file; `sightline options` prints one");
  up->add_flag("--demo", command->options.demo,
               "with cameras: recorded pedestrians shifted to now, and a simulated city");
  up->add_flag("--insecure", command->options.insecure,
               "allow listening on an address that other machines can reach");
  for (const Option& option : command->table) {
    const std::string value = option.get();
    up->add_option("--" + option.key, command->given[option.key],
                   fmt::format("{} [{}]", option.help, value.empty() ? "none" : value))
        ->type_name(option.unit);
  }
  up->footer(
      "Examples:\n"
      "  sightline up --demo                       a moving page on http://127.0.0.1:8080\n"
      "  sightline up --data /srv/sightline --locations locations.csv\n"
      "  curl --data-binary @detections.ndjson http://127.0.0.1:8080/v1/detections\n\n"
      "SIGTERM or Ctrl+C: drained and committed within 5 s.");
  up->callback([command, result] { *result = Up(*command); });

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
