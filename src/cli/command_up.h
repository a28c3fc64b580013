// `sightline up` and `sightline options`: see processes/up.h.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

// Adds the subcommands; the one that is chosen puts its exit code into `result`.
void AddUpCommands(CLI::App& app, int* result);

}  // namespace sightline
