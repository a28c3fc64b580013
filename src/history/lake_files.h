// The files of a table of the lake, as queries want them.
#pragma once

#include <vector>

#include "connectors/lake/snapshot.h"
#include "query/file_list.h"

namespace sightline {

std::vector<LakeFile> FilesOf(const lake::Snapshot& snapshot);
// `files`, which are those of `before`, brought to `now`.
FileList Advance(const FileList& files, const lake::Snapshot& before, const lake::Snapshot& now);

}  // namespace sightline
