#include "query/file_bounds.h"

#include <optional>

namespace sightline {

std::vector<LakeFile> FilesFor(const FileList& files, const ViewBounds& views, const Scope& scope,
                               bool of_ledger) {
  std::optional<ReadBounds> all;
  for (const auto& [view, bounds] : views) {
    if (view == kLocations || (view == kLedger) != of_ledger) continue;
    const ReadBounds own = FileBounds(view, bounds, scope);
    all ? all->Widen(own) : static_cast<void>(all = own);
  }
  std::vector<LakeFile> found;
  if (!all) return found;
  for (const LakeFile* file : files.Select(*all)) found.push_back(*file);
  return found;
}

void AddNeeded(std::string_view folder, const std::vector<LakeFile>& files,
               std::vector<NeededFile>& needed) {
  for (const LakeFile& file : files)
    needed.push_back({.path = std::string(folder) + "/" + file.path, .bytes = file.bytes});
}

}  // namespace sightline
