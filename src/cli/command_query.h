// The commands `sightline query`, `top` and `ledger`: questions to the lake and what is pending.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

void AddQueryCommands(CLI::App& app, int* result);

}  // namespace sightline
