// Verify: reads the whole lake and reports everything that is wrong.
//
// It changes nothing and may run beside writers. Memory: the offset ranges of all commits, and the
// row keys of one partition value.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/storage/storage.h"

namespace sightline::lake {

struct Finding {
  std::string table;
  std::string object;  // the file or source partition that it is about
  std::string what;    // what is wrong, as a sentence
};

struct VerifiedTable {
  std::string name;
  int64_t version = -1;
  int64_t files = 0, rows = 0, bytes = 0;
  bool complete = false;  // every file was read; otherwise a finding says why not
};

struct VerifyReport {
  std::vector<VerifiedTable> tables;
  std::vector<Finding> findings;  // damage
  std::vector<Finding> notes;     // no damage, but worth knowing: files that are in no version
  // Over the offsets that both tables have: the sum of the increments, and what the ledger counted.
  // They are equal, or there is a finding.
  int64_t item_count = 0;
  int64_t counted = 0;
  int64_t lost = 0;  // offsets that were never read, according to the ledger
  bool clean() const { return findings.empty(); }
};

// Reports progress: `done` of `total` files of a table were read.
using VerifyProgress = std::function<void(std::string_view table, int64_t done, int64_t total)>;

// Verifies every table of the lake that exists. An error only if the storage cannot be read at all;
// damage is a finding. `progress` may be null.
Result<VerifyReport> Verify(Storage& storage, const VerifyProgress& progress);

}  // namespace sightline::lake
