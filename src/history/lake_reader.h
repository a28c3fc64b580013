// LakeReader: opens a lake that other processes write, for queries. One thread calls Refresh(); any
// thread may use queries().
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "connectors/lake/snapshot.h"
#include "history/lake_view.h"
#include "query/query_service.h"

namespace sightline {

class LakeReader {
 public:
  // kStop: there is no lake in `folder`, or it cannot be read.
  static Result<std::unique_ptr<LakeReader>> Open(const std::string& folder,
                                                  const OpenQueries& open_queries);
  // Opens a lake that may not exist yet. It is empty until Refresh() finds it. kStop: the lake
  // cannot be read.
  static Result<std::unique_ptr<LakeReader>> OpenEarly(const std::string& folder,
                                                       const OpenQueries& open_queries);

  // Moves queries to the newest version. The cost depends on the number of new commits. kRetry:
  // there is no lake yet.
  Status Refresh();
  QueryService& queries() { return *queries_; }
  // Returns whether Refresh() has found the lake.
  bool complete() const { return ledger_ != nullptr; }

 private:
  std::string root_;
  lake::SnapshotPtr counts_, ledger_;
  std::shared_ptr<LakeView> view_;
  std::unique_ptr<QueryService> queries_;
};

}  // namespace sightline
