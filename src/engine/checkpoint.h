// Checkpoint: the bytes from which a task goes on at `next`.
//
// The store keeps them as they are; this file and its body are the only ones that know the layout.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/checkpoint_store.h"
#include "engine/spilled_run.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline {

// Offsets [first, next) that retention has removed before they were read. first == next: none.
struct Gap {
  Offset first, next;
  [[nodiscard]] bool empty() const { return first == next; }
  friend bool operator==(const Gap&, const Gap&) = default;
};

struct CheckpointHead {
  Offset next;    // C: where reading goes on
  Offset origin;  // where the counting of this partition began: no sink has anything before it
  // Results are degraded until the partition's watermark reaches it (kBeforeAllTime: they are not;
  // kAfterAllTime: from the first watermark on, to be found out).
  EventTime degraded_until = kBeforeAllTime;
  Gap gap;  // the newest that was counted as lost, while results are degraded
  friend bool operator==(const CheckpointHead&, const CheckpointHead&) = default;
};

struct Checkpoint {
  CheckpointHead head;
  // What some sink had not committed, contiguous up to head.next: the oldest part in the runs.
  std::vector<SpilledRun> runs;
  std::vector<Segment> sealed;
  std::string_view state;  // CountOperator::Save; a view into the bytes
};

// Writes in pieces; the state is streamed last, so that it is never in memory a second time.
void WriteCheckpoint(const CheckpointHead& head, std::span<const SpilledRun> runs,
                     std::span<const Segment> sealed, const CheckpointWriter& save_state,
                     const ByteSink& out);

// kStop if the bytes are damaged or of a version that this program does not know. It knows those
// before, too, which had no gap and no runs.
Result<Checkpoint> ReadCheckpoint(std::string_view bytes);

}  // namespace sightline
