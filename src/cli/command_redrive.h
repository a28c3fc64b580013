// `sightline redrive`: see admin/redrive.h.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

void AddRedriveCommand(CLI::App& app, int* result);

}  // namespace sightline
