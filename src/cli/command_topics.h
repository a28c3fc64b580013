// The commands `sightline topics plan|apply|check|acls`.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

void AddTopicsCommands(CLI::App& app, int* result);

}  // namespace sightline
