// The files of `up --demo`. They are compiled into the binary, so the demo needs nothing beside it.
// They are written to a folder, because the location table and the recording are read as files.
#pragma once

#include <string>

#include "base/status.h"

namespace sightline {

// Each function creates the folder, writes its file anew and returns the file's path.
// The location table: the names of the simulated city and of the recording's town square.
Result<std::string> WriteDemoLocations(const std::string& folder);
// The recording: data/pedestrians.ndjson, compressed with gzip.
Result<std::string> WriteDemoRecording(const std::string& folder);

}  // namespace sightline
