#include "cli/command_clock.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "base/clock.h"
#include "config/data_folder.h"

namespace sightline {
namespace {

// A process looks once a second.
constexpr std::chrono::seconds kPatience{5};
constexpr std::chrono::milliseconds kPoll{50};

int Fail(const std::string& message) {
  fmt::print(stderr, "sightline clock: {}\n", message);
  return 1;
}

int RunAccept(const std::string& data) {
  const DataFolder folder(data);
  if (const Status written = folder.WriteAcceptedTime(SystemClock().NowMs()); !written.ok())
    return Fail(written.message());
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (folder.HasAcceptedTime()) {
    if (std::chrono::steady_clock::now() > until) {
      folder.TakeAcceptedTime();
      return Fail(fmt::format(
          "no process has taken it: is there one that runs with --data {} on this machine?", data));
    }
    std::this_thread::sleep_for(kPoll);
  }
  fmt::print(
      "The clock is accepted: the log's time follows it now. `/healthz` says if it is not.\n");
  return 0;
}

}  // namespace

void AddClockCommands(CLI::App& app, int* result) {
  CLI::App* const clock =
      app.add_subcommand("clock",
                         "Say that the machine's clock is right, where it differs from the "
                         "log's time");
  clock->require_subcommand(1);
  auto data = std::make_shared<std::string>("data");
  CLI::App* const accept =
      clock->add_subcommand("accept",
                            "Let the log's time follow the machine's clock, although they differ "
                            "by an hour or more and no "
                            "time server keeps the clock. Check the clock first: `date`");
  accept
      ->add_option("--data", *data,
                   "The data folder of the process whose /healthz names the clock.")
      ->capture_default_str();
  accept->footer(
      "Example:\n"
      "  date && sightline clock accept --data /var/lib/sightline\n");
  accept->callback([data, result] { *result = RunAccept(*data); });
}

}  // namespace sightline
