// The commands of the long-running processes - `up`, `serve`, `count`, `join`, `transform`, `store`
// (src/processes) - and `options` and `explain`.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

// Adds the subcommands. If one is chosen, parsing runs it and puts its exit code into `result`.
void AddUpCommands(CLI::App& app, int* result);

}  // namespace sightline
