// The command `sightline rekey`; admin/rekey.h does the work.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

// Adds the subcommand. If it is chosen, parsing runs it and puts its exit code into `result`.
void AddRekeyCommand(CLI::App& app, int* result);

}  // namespace sightline
