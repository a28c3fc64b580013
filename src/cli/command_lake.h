// The commands `sightline lake verify|describe|history|files|compact|retain|vacuum`.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

void AddLakeCommands(CLI::App& app, int* result);

}  // namespace sightline
