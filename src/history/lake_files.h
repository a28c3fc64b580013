// Turns the files of a lake table into the list that queries prune by.
#pragma once

#include <vector>

#include "connectors/lake/snapshot.h"
#include "query/file_list.h"

namespace sightline {

std::vector<LakeFile> FilesOf(const lake::Snapshot& snapshot);
// Returns the files of `now`. `files` must be those of `before`, so that only the difference costs.
FileList Advance(const FileList& files, const lake::Snapshot& before, const lake::Snapshot& now);

}  // namespace sightline
