// The command `sightline replay`, which counts files; batch/count_files.h does the work.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

// Adds the subcommand; when it is chosen, parsing runs it and its exit code is put into `result`.
void AddReplayCommand(CLI::App& app, int* result);

}  // namespace sightline
