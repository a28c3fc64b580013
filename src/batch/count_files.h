// replay: the pipeline over files, at full speed, without a server.
//
// The files are one source partition without append times: the clock guard, max_age and camera_ttl
// are off (docs/SEMANTICS.md). Blocks are decoded in parallel and counted in their order, so that
// the result does not depend on the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/locations/locations.h"
#include "model/segment.h"
#include "pipeline/spec.h"

namespace sightline {

struct ReplayFilesOptions {
  std::vector<std::string> paths;  // "-": standard input
  int32_t threads = 2;
  uint64_t hash_seed = 0;  // of CountOperator
};
struct ReplayFilesProgress {
  int64_t bytes_read = 0, bytes_total = 0;  // total 0: unknown
  int64_t events = 0;
};

// Counts and ledger of all files together. `progress` is called now and then, on this thread.
Result<Segment> ReplayFiles(const PipelineSpec& spec, const ReplayFilesOptions& options,
                            const std::function<void(const ReplayFilesProgress&)>& progress);

enum class ReplayFormat : uint8_t { kCsv, kJson };

// Rows (location, name, item, window_start, window_end, count), sorted by these columns; times in
// ms. Corrections are added to their windows.
std::string FormatCounts(const Segment& result, const PipelineSpec& spec,
                         const std::vector<Location>& locations, ReplayFormat format);
// The ledger as a sentence a line, and as JSON: totals, then by location and camera.
std::string FormatLedger(const Segment& result);
std::string FormatLedgerJson(const Segment& result);

}  // namespace sightline
