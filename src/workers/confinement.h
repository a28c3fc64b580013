// Confinement: what a worker gives up before it reads a question, so that a question that has taken
// it over can reach nothing but the lake's files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace sightline {

struct ConfinementOptions {
  std::vector<std::string>
      read;  // files, and folders below which files may be read; those that exist
  int64_t address_space_bytes = 0;     // beyond what the process has now; 0: no limit
  int64_t file_bytes_max = INT64_MAX;  // of a file in memory that it writes
};

// Confines the process, for good. Call it before there is a second thread.
// No core dumps; the first to be ended when the system is out of memory; no network, no other
// programs, no signals to others (seccomp); reading below `read` and nothing else of the file
// system (Landlock, where the kernel has it). kStop: the kernel refuses.
Status Confine(const ConfinementOptions& options);

// Whether this kernel has Landlock (Linux 5.13, and switched on).
bool HasLandlock();

}  // namespace sightline
