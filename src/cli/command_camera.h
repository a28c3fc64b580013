// `sightline camera`: see camera/camera.h.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

// Adds the subcommand; when it is chosen, parsing runs it and its exit code is put into `result`.
void AddCameraCommand(CLI::App& app, int* result);

}  // namespace sightline
