// The commands `sightline query`, `top` and `ledger`: they read the lake and the pending rows.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

// Adds the subcommands. If one is chosen, parsing runs it and puts its exit code into `result`.
void AddQueryCommands(CLI::App& app, int* result);

}  // namespace sightline
