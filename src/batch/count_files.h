// Counts files at full speed, without a server: the command `sightline replay`.
//
// All files together form one source partition without append times. So the clock guard, max_age
// and camera_ttl are off (docs/SEMANTICS.md). Blocks are decoded in parallel and counted in their
// order, so the result does not depend on the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "model/event.h"
#include "model/location.h"
#include "model/segment.h"
#include "operators/clock_jumps.h"
#include "operators/id_conflicts.h"
#include "pipeline/spec.h"

namespace sightline {

struct CountFilesOptions {
  std::vector<std::string> paths;  // "-": standard input
  int32_t threads = 2;
  uint64_t hash_seed = 0;  // for CountOperator
};
struct CountFilesProgress {
  int64_t bytes_read = 0, bytes_total = 0;  // bytes_total is 0 if it is not known
  int64_t events = 0;
};

// What could not be decoded, without its bytes.
struct MalformedElements {
  struct Element {
    std::string file;
    bool in_array = false;  // the file begins with an array
    int64_t number = 0;     // from 1: of its line, or in_array: of the element in the file
    MalformedReason reason = MalformedReason::kNone;
    std::string field;  // may be empty
  };
  std::map<std::pair<MalformedReason, std::string>, int64_t> by_reason;  // and field
  std::vector<Element> first;                                            // at most three
};

struct CountFilesResult {
  Segment counted;  // the counts and the ledger of all files together
  ClockJumps clock_jumps;
  IdConflicts id_conflicts;
  MalformedElements malformed;

  // Whether there are elements, and all of them are malformed.
  bool NothingAccepted() const;
};

// Calls `progress` now and then, on the calling thread. kStop names a file that cannot be read.
Result<CountFilesResult> CountFiles(const PipelineSpec& spec, const CountFilesOptions& options,
                                    const std::function<void(const CountFilesProgress&)>& progress);

// The count of an item in a window. Views into the result and the locations that it is made from.
struct WindowCount {
  LocationId location;
  std::string_view name;  // of the location; empty: not known
  std::string_view item;
  Window window;
  int64_t count = 0;
};
// Sorted by location, item and window. Corrections are added to their windows.
std::vector<WindowCount> WindowCounts(const Segment& result, const PipelineSpec& spec,
                                      const std::vector<Location>& locations);

enum class CountsFormat : uint8_t { kCsv, kJson };
// Formats the rows with times in Unix ms.
std::string FormatCounts(const std::vector<WindowCount>& rows, CountsFormat format);
// Formats the totals of the ledger as one line of text.
std::string FormatLedger(const Segment& result);
// Formats the ledger as JSON: the totals, and the sums by location and camera.
std::string FormatLedgerJson(const Segment& result);
// Formats what is to be said of malformed elements as a line of text; empty if there are none.
std::string FormatMalformed(const CountFilesResult& result);
// Formats what is to be said of the cameras' clocks as a line of text; empty if it is nothing.
std::string FormatClockJumps(const ClockJumps& jumps, const PipelineSpec& spec);
// Formats which cameras gave ids of other detections, one line for those of two cameras and one for
// those of one; empty if none did.
std::string FormatIdConflicts(const IdConflicts& conflicts);

}  // namespace sightline
