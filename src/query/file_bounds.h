// Which files of a table a view needs. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/scope.h"
#include "query/lake_source.h"
#include "query/views.h"
#include "sql/read_bounds.h"

namespace sightline {

// The bounds for the files of `view`'s table, for a question that needs only the rows within
// `bounds` and may see only `scope`.
inline ReadBounds FileBounds(std::string_view view, ReadBounds bounds, const Scope& scope) {
  // Skips files of other locations. The view's WHERE clause filters the rows of the other files.
  if (scope.locations) bounds.Narrow({.locations = scope.locations});
  if (view != kLedger) return bounds;
  // Without the days of `bounds`: those are of window_start, the ledger's days are of writing.
  return {.locations = bounds.locations,
          .first_append = bounds.first_append,
          .end_append = bounds.end_append};
}

// The files of one table that the views need, of those that read it.
std::vector<LakeFile> FilesFor(const FileList& files, const ViewBounds& views, const Scope& scope,
                               bool of_ledger);

// Adds the files of the table `folder` to those that have to be fetched.
void AddNeeded(std::string_view folder, const std::vector<LakeFile>& files,
               std::vector<NeededFile>& needed);

}  // namespace sightline
