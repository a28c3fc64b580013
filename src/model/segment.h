// Outcome, Ledger and Segment: what the offsets [first, next) of one source partition add to the
// counts.
//
// A segment is always an increment, never a state. So sums over segments are right however the
// offsets are cut (docs/SEMANTICS.md, "Exactly once").
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "model/event.h"
#include "model/types.h"

namespace sightline {

// In the order of the outcome table in docs/SEMANTICS.md. The numbers are stored: never renumber
// them.
enum class Outcome : uint8_t { kCounted, kDuplicate, kTooLate, kFuture, kMalformed, kOutside };
constexpr size_t kOutcomes = 6;
std::string_view ToString(Outcome outcome);

struct Ledger {
  int64_t received = 0;
  std::array<int64_t, kOutcomes> outcomes{};  // by Outcome; they add up to `received`
  int64_t conflicts = 0;   // how many of the duplicates contradict the first copy
  int64_t heartbeats = 0;  // counted apart: not part of `received`
  // Offsets that retention removed before they were read. Nobody knows what was in them, so they
  // are not part of `received`.
  int64_t lost = 0;
  int64_t of(Outcome outcome) const { return outcomes[static_cast<size_t>(outcome)]; }
  bool Balanced() const;
  void Add(const Ledger& other);
  void Encode(ByteWriter& out) const;
  static Result<Ledger> Decode(ByteReader& in);
  friend bool operator==(const Ledger&, const Ledger&) = default;
};

// The key under which the ledger adds up. `known` is false for elements that could not be decoded:
// they have neither location nor camera.
struct LedgerKey {
  bool known = true;
  LocationId location;
  CameraId camera;
  AppendTime hour;  // start of the hour of append time; kNoAppendTime for files
  friend auto operator<=>(const LedgerKey&, const LedgerKey&) = default;
};
struct LedgerRow {
  LedgerKey key;
  Ledger ledger;
  friend bool operator==(const LedgerRow&, const LedgerRow&) = default;
};

enum class CountKind : uint8_t { kCount, kCorrection };

// The key of one cell of counts. The engine counts panes; every window is a sum of panes.
struct CountKey {
  EventTime pane_start;
  LocationId location;
  std::string item;
  CountKind kind = CountKind::kCount;  // kCorrection: the partition's watermark had passed the end
  friend auto operator<=>(const CountKey&, const CountKey&) = default;
};
struct CountRow {
  CountKey key;
  int64_t count = 0;
  EventTime first_detected, last_detected;
  friend bool operator==(const CountRow&, const CountRow&) = default;
};

// An event that was not counted, kept with its original bytes. Malformed and future events go to
// `dead_letters`, events that are too late to `late_detections`.
struct DeadLetter {
  Outcome outcome = Outcome::kMalformed;
  MalformedReason reason = MalformedReason::kNone;
  Offset offset;
  int32_t index = 0;
  AppendTime append_time = kNoAppendTime;
  std::string bytes;  // cut at kDeadLetterBytesMax
  friend bool operator==(const DeadLetter&, const DeadLetter&) = default;
};
constexpr size_t kDeadLetterBytesMax = 64 * 1024;

struct Segment {
  Offset first, next;
  std::vector<CountRow> counts;          // sorted by key, each key once
  std::vector<LedgerRow> ledger;         // sorted by key, each key once
  std::vector<DeadLetter> dead_letters;  // by offset, index
  Watermark watermark = kBeforeAllTime;  // the partition's, at `next`

  Ledger Total() const;
  // Appends `after`, which must begin where this segment ends. O(rows of both).
  void Merge(Segment&& after);
  // True if this segment covers lost offsets and nothing else.
  bool IsGap() const { return ledger.size() == 1 && counts.empty() && ledger[0].ledger.lost > 0; }
  size_t rows() const { return counts.size() + ledger.size() + dead_letters.size(); }
  void Encode(ByteWriter& out) const;
  static Result<Segment> Decode(ByteReader& in);
  friend bool operator==(const Segment&, const Segment&) = default;
};

// The segment that reports the offsets [first, next) as lost. They have no hour, location or
// camera.
Segment GapSegment(Offset first, Offset next, Watermark watermark);

// Merges `rows` into `into`. Both are sorted by key, and `into` stays so.
void MergeCounts(std::vector<CountRow>& into, std::vector<CountRow>&& rows);
void MergeLedger(std::vector<LedgerRow>& into, std::vector<LedgerRow>&& rows);
// Sorts the rows by key and adds up those of one key.
void SortCounts(std::vector<CountRow>& rows);
void SortLedger(std::vector<LedgerRow>& rows);

}  // namespace sightline
