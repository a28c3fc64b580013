// The command `sightline doctor`, which looks at a sample of detections and says which settings
// fit; doctor/diagnose.h does the work.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

// Adds the subcommand. If it is chosen, parsing runs it and puts its exit code into `result`.
void AddDoctorCommand(CLI::App& app, int* result);

}  // namespace sightline
