// Whether this program may write a table, as others have left it.
//
// Everything that commits asks before each attempt, on the snapshot that it builds on.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/status.h"
#include "connectors/lake/snapshot.h"

namespace sightline::lake {

// The URL to which `lake copy` has moved the table.
constexpr char kMovedToProperty[] = "sightline.moved_to";
// The id of the table that it was copied from.
constexpr char kMovedFromProperty[] = "sightline.moved_from";
// What other programs have done to our rows up to this version is meant so: an operator sets it.
constexpr char kAcceptedProperty[] = "sightline.accepted_version";

// kStop, saying what to do:
// - the table needs a feature that we do not support, or was moved away;
// - its offsets vanish in checkpoints (delta.setTransactionRetentionDuration), or have vanished;
// - another program has removed rows of ours, or set back our offsets (Snapshot::foreign).
Status CheckWritable(std::string_view table, const Snapshot& snapshot);

// An interval as table properties have it, such as "interval 30 days" or "interval 1 week 2 hours",
// in ms. Nothing for other texts, and for months and years, which have no one length.
std::optional<int64_t> ParseInterval(std::string_view text);

// For how long after Snapshot::seen_ms the next version's number cannot have been used and cleaned:
// half of delta.logRetentionDuration, at most 10 minutes; 0 if that cannot be read.
int64_t TrustedMs(const Snapshot& snapshot);

}  // namespace sightline::lake
