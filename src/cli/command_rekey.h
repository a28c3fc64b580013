// `sightline rekey`: see admin/rekey.h.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

// Adds the subcommand; when it is chosen, it puts its exit code into `result`.
void AddRekeyCommand(CLI::App& app, int* result);

}  // namespace sightline
