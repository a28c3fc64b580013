// The commands `sightline lake verify|describe|history|files|compact|retain|vacuum`.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

// Adds the subcommands. If one is chosen, parsing runs it and puts its exit code into `result`.
void AddLakeCommands(CLI::App& app, int* result);

}  // namespace sightline
