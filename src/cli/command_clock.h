// The command `sightline clock`: what a person says about the machine's clock.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

// Adds the subcommand. If it is chosen, parsing runs it and puts its exit code into `result`.
void AddClockCommands(CLI::App& app, int* result);

}  // namespace sightline
