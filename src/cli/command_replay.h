// The command `sightline replay`, which counts files; batch/count_files.h does the work.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

// Adds the subcommand. If it is chosen, parsing runs it and puts its exit code into `result`.
void AddReplayCommand(CLI::App& app, int* result);

}  // namespace sightline
