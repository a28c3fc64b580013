// The commands `sightline topics plan|apply|check|acls`.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

// Adds the subcommands. If one is chosen, parsing runs it and puts its exit code into `result`.
void AddTopicsCommands(CLI::App& app, int* result);

}  // namespace sightline
