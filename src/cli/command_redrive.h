// The command `sightline redrive`; admin/redrive.h does the work.
#pragma once

namespace CLI {
class App;
}

namespace sightline {

void AddRedriveCommand(CLI::App& app, int* result);

}  // namespace sightline
