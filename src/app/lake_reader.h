// LakeReader: a lake that other processes write, for queries. Refresh() is for one thread, query()
// for any.
#pragma once

#include <memory>
#include <string>

#include "app/lake_view.h"
#include "base/status.h"
#include "connectors/lake/snapshot.h"
#include "connectors/storage/storage.h"
#include "query/query_engine.h"

namespace sightline {

class LakeReader {
 public:
  // kStop: there is no lake in `folder`, or it cannot be read.
  static Result<std::unique_ptr<LakeReader>> Open(const std::string& folder,
                                                  QueryEngineOptions query);

  // Brings what is asked to the newest version. Costs the new commits.
  Status Refresh();
  QueryEngine& query() { return *engine_; }

 private:
  std::unique_ptr<Storage> storage_;
  lake::SnapshotPtr counts_, ledger_;
  std::shared_ptr<LakeView> view_;
  std::unique_ptr<QueryEngine> engine_;
};

}  // namespace sightline
