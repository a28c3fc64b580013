// The files of `up --demo`, which it needs beside the program: none. They are part of the program
// and written into a folder, because the location table is re-read and the recording replayed as
// files.
#pragma once

#include <string>

#include "base/status.h"

namespace sightline {

// Each makes the folder, writes its file anew and returns its path.
// The names of the simulated city, and of the recording's town square.
Result<std::string> WriteDemoLocations(const std::string& folder);
// data/pedestrians.ndjson, gzip.
Result<std::string> WriteDemoRecording(const std::string& folder);

}  // namespace sightline
