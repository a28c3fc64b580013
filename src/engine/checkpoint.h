// Checkpoint: the bytes from which a task continues at the offset `next`.
//
// The store treats them as opaque. Only this header and its body know the layout.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/checkpoint_store.h"
#include "engine/spilled_run.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline {

// Offsets [first, next) that retention removed before they were read. first == next: there is no
// gap.
struct Gap {
  Offset first, next;
  [[nodiscard]] bool empty() const { return first == next; }
  friend bool operator==(const Gap&, const Gap&) = default;
};

struct CheckpointHead {
  Offset next;    // C: where reading continues
  Offset origin;  // where counting of the partition began: no sink has anything before it
  // Results are degraded until the partition's watermark reaches this time. kBeforeAllTime: they
  // are not degraded. kAfterAllTime: the time is set by the first records that move the watermark.
  EventTime degraded_until = kBeforeAllTime;
  Gap gap;  // the newest gap that was counted as lost, while results are degraded
  // The names of the sinks that may lack what is no longer in the list, because they are switched
  // off, or were and have not committed yet what they missed. Any other sink that lacks it has lost
  // its data.
  std::vector<std::string> absent;
  friend bool operator==(const CheckpointHead&, const CheckpointHead&) = default;
};

struct Checkpoint {
  CheckpointHead head;
  // What some sink had not committed, contiguous up to head.next. The runs hold the oldest part.
  std::vector<SpilledRun> runs;
  std::vector<Segment> sealed;
  std::string_view state;  // written by CountOperator::Save; a view into the bytes
};

// Writes the checkpoint in pieces. The state is streamed last, so that it is never in memory twice.
void WriteCheckpoint(const CheckpointHead& head, std::span<const SpilledRun> runs,
                     std::span<const Segment> sealed, const CheckpointWriter& save_state,
                     const ByteSink& out);

// kStop if the bytes are damaged, or of a version that this program does not know. Earlier
// versions, without absent sinks, gaps or runs, can be read.
Result<Checkpoint> ReadCheckpoint(std::string_view bytes);

}  // namespace sightline
