// The commands `sightline query`, `top` and `ledger`: they read the lake and the pending rows.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

void AddQueryCommands(CLI::App& app, int* result);

}  // namespace sightline
