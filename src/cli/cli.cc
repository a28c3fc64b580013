#include "cli/cli.h"

#include <CLI/CLI.hpp>

#include "cli/command_camera.h"
#include "cli/command_clock.h"
#include "cli/command_doctor.h"
#include "cli/command_handover.h"
#include "cli/command_lake.h"
#include "cli/command_query.h"
#include "cli/command_redrive.h"
#include "cli/command_rekey.h"
#include "cli/command_replay.h"
#include "cli/command_topics.h"
#include "cli/command_up.h"
#include "history/run_part.h"
#include "workers/query_worker.h"

namespace sightline {

int RunCommandLine(int argc, char** argv) {
  CLI::App app("Count what cameras detect: the top items in each location, live and exact");
  app.name("sightline");
  app.set_version_flag("--version", "sightline 0.1.0");
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  sightline up --demo          a moving page on http://127.0.0.1:8080\n"
      "  sightline top --window 60m   the top items of the last hour\n"
      "  sightline up --help          the options of a command");
  int result = 0;
  AddUpCommands(app, &result);
  AddCameraCommand(app, &result);
  AddReplayCommand(app, &result);
  AddDoctorCommand(app, &result);
  AddQueryCommands(app, &result);
  AddLakeCommands(app, &result);
  AddRedriveCommand(app, &result);
  AddRekeyCommand(app, &result);
  AddHandoverCommand(app, &result);
  AddClockCommands(app, &result);
  AddTopicsCommands(app, &result);
  // Started by the server, never by hand. An empty group hides it.
  app.add_subcommand("query-worker", "Answer the questions of the server that starts it")
      ->group("")
      ->callback([&result] { result = RunQueryWorker(OpenRunPart); });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return result;
}

}  // namespace sightline
