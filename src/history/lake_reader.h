// LakeReader: a lake that other processes write, for queries. Refresh() is for one thread, query()
// for any.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "connectors/lake/snapshot.h"
#include "connectors/storage/storage.h"
#include "history/lake_view.h"
#include "query/query_engine.h"

namespace sightline {

class LakeReader {
 public:
  // kStop: there is no lake in `folder`, or it cannot be read.
  static Result<std::unique_ptr<LakeReader>> Open(const std::string& folder,
                                                  QueryEngineOptions query);
  // Likewise, but others may yet make the lake: until Refresh() finds it there is nothing in it.
  static Result<std::unique_ptr<LakeReader>> OpenEarly(const std::string& folder,
                                                       QueryEngineOptions query);

  // Brings what is asked to the newest version. Costs the new commits. kRetry: there is no lake
  // yet.
  Status Refresh();
  QueryEngine& query() { return *engine_; }
  // It was found.
  bool complete() const { return ledger_ != nullptr; }

 private:
  std::string root_;
  std::unique_ptr<Storage> storage_;
  lake::SnapshotPtr counts_, ledger_;
  std::shared_ptr<LakeView> view_;
  std::unique_ptr<QueryEngine> engine_;
};

}  // namespace sightline
