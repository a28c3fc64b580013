// `sightline replay`: see batch/count_files.h.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

// Adds the subcommand; when it is chosen, parsing runs it and its exit code is put into `result`.
void AddReplayCommand(CLI::App& app, int* result);

}  // namespace sightline
