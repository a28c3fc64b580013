// SharedRows: rows that are only in the server's memory, as sealed files in memory that workers
// map. Nobody can change a file once it is sealed.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "model/scope.h"
#include "query/lake_source.h"

namespace sightline {

using SharedFile = std::shared_ptr<const File>;

// The server's side. States share the rows that did not change, so a file is made once for all the
// questions of one scope about the same rows. Thread-safe.
class SharedRows {
 public:
  // The rows that `scope` may see. kRetry: the system has no memory.
  Result<SharedFile> Counts(const LakeState& state, const Scope& scope);
  Result<SharedFile> Ledger(const LakeState& state, const Scope& scope);
  Result<SharedFile> Locations(const LakeState& state, const Scope& scope);

 private:
  template <typename RowType>
  struct Made {
    std::shared_ptr<const std::vector<RowType>> rows;  // keeps the address from being used again
    SharedFile file;
  };
  template <typename RowType>
  using MadeByScope = std::map<Scope, Made<RowType>>;
  template <typename RowType>
  Result<SharedFile> Get(MadeByScope<RowType>& made,
                         const std::shared_ptr<const std::vector<RowType>>& rows,
                         const Scope& scope);

  std::mutex mutex_;
  // Under mutex_.
  MadeByScope<CountIncrement> counts_;
  MadeByScope<LedgerIncrement> ledger_;
  MadeByScope<Location> locations_;
};

// The worker's side: each reads the rows that a file holds. kStop: it is not one of ours.
std::shared_ptr<const PendingPart> SharedCounts(SharedFile file);
std::shared_ptr<const PendingPart> SharedLedger(SharedFile file);
Result<std::vector<Location>> ReadLocations(const File& file);

}  // namespace sightline
