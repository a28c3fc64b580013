#include "model/segment.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "base/check.h"

namespace sightline {
namespace {

void Accumulate(CountRow& into, const CountRow& row) {
  into.count += row.count;
  into.first_detected = std::min(into.first_detected, row.first_detected);
  into.last_detected = std::max(into.last_detected, row.last_detected);
}
void Accumulate(LedgerRow& into, const LedgerRow& row) { into.ledger.Add(row.ledger); }

template <typename Row>
// Merges two sorted lists and adds up the rows of equal keys, in linear time.
void MergeSorted(std::vector<Row>& into, std::vector<Row>&& rows) {
  if (into.empty()) {
    into = std::move(rows);
    return;
  }
  if (rows.empty()) return;
  std::vector<Row> merged;
  merged.reserve(into.size() + rows.size());
  auto a = into.begin();
  auto b = rows.begin();
  while (a != into.end() && b != rows.end()) {
    const auto order = a->key <=> b->key;
    if (order < 0) {
      merged.push_back(std::move(*a++));
    } else if (order > 0) {
      merged.push_back(std::move(*b++));
    } else {
      Accumulate(*a, *b++);
      merged.push_back(std::move(*a++));
    }
  }
  std::move(a, into.end(), std::back_inserter(merged));
  std::move(b, rows.end(), std::back_inserter(merged));
  into = std::move(merged);
}

template <typename Row>
// Sorts the rows in place and adds up those of one key.
void SortAndAdd(std::vector<Row>& rows) {
  if (rows.empty()) return;
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.key < b.key; });
  auto last = rows.begin();
  for (auto row = std::next(last); row != rows.end(); ++row) {
    if (row->key == last->key) {
      Accumulate(*last, *row);
    } else if (++last != row) {
      *last = std::move(*row);
    }
  }
  rows.erase(std::next(last), rows.end());
}

// No ledger that Sightline wrote holds a larger number. Rejecting larger ones keeps sums from
// overflowing.
constexpr uint64_t kCountMax = uint64_t{1} << 53;
// Stands in place of an encoded ledger's first number and says that `lost` follows before it.
constexpr uint64_t kLostFollows = uint64_t{1} << 63;

// Decodes a time that is stored as its difference from `base`. Returns false if the result is not a
// valid time.
bool DecodeTime(ByteReader& in, EventTime base, EventTime* time) {
  return !__builtin_add_overflow(base.v, in.Signed(), &time->v) && *time > kBeforeAllTime &&
         *time < kAfterAllTime;
}

// Reads an element count. Each element has at least one byte, so a count above the bytes that are
// left means damage: the reader fails, and damaged input cannot make it allocate more memory than
// the input has bytes.
size_t ReadSize(ByteReader& in) {
  const uint64_t size = in.Varint();
  if (size <= in.remaining()) return size;
  in.Raw(size);
  return 0;
}

}  // namespace

std::string_view ToString(Outcome outcome) {
  constexpr std::array<std::string_view, kOutcomes> kNames = {"counted", "duplicate", "too_late",
                                                              "future",  "malformed", "outside"};
  return kNames[static_cast<size_t>(outcome)];
}

bool Ledger::Balanced() const {
  return received == std::accumulate(outcomes.begin(), outcomes.end(), int64_t{0});
}

void Ledger::Add(const Ledger& other) {
  received += other.received;
  for (size_t i = 0; i < kOutcomes; ++i) outcomes[i] += other.outcomes[i];
  conflicts += other.conflicts;
  heartbeats += other.heartbeats;
  lost += other.lost;
}

// Layout: the outcomes in their order, conflicts, heartbeats. `received` is not stored: it is the
// sum of the outcomes. If offsets were lost, kLostFollows and `lost` come first. So ledgers without
// losses keep their original encoding, and a program that does not know losses refuses a ledger
// that has some.
void Ledger::Encode(ByteWriter& out) const {
  if (lost > 0) {
    out.Varint(kLostFollows);
    out.Varint(static_cast<uint64_t>(lost));
  }
  for (const int64_t n : outcomes) out.Varint(static_cast<uint64_t>(n));
  out.Varint(static_cast<uint64_t>(conflicts));
  out.Varint(static_cast<uint64_t>(heartbeats));
}

Result<Ledger> Ledger::Decode(ByteReader& in) {
  Ledger ledger;
  bool sane = true;
  const auto number = [&](uint64_t value) {
    sane &= value <= kCountMax;
    return sane ? static_cast<int64_t>(value) : 0;
  };
  uint64_t first = in.Varint();
  if (first == kLostFollows) {
    ledger.lost = number(in.Varint());
    first = in.Varint();
  }
  ledger.received = ledger.outcomes[0] = number(first);
  for (size_t i = 1; i < kOutcomes; ++i)
    ledger.received += ledger.outcomes[i] = number(in.Varint());
  ledger.conflicts = number(in.Varint());
  ledger.heartbeats = number(in.Varint());
  if (!sane || !in.ok()) return Status::Stop("the ledger cannot be decoded");
  return ledger;
}

Ledger Segment::Total() const {
  Ledger total;
  for (const LedgerRow& row : ledger) total.Add(row.ledger);
  return total;
}

Segment GapSegment(Offset first, Offset next, Watermark watermark) {
  Segment gap{.first = first, .next = next, .watermark = watermark};
  gap.ledger = {
      {.key = {.known = false, .hour = kNoAppendTime}, .ledger = {.lost = next.v - first.v}}};
  return gap;
}

void MergeCounts(std::vector<CountRow>& into, std::vector<CountRow>&& rows) {
  MergeSorted(into, std::move(rows));
}
void MergeLedger(std::vector<LedgerRow>& into, std::vector<LedgerRow>&& rows) {
  MergeSorted(into, std::move(rows));
}

void SortCounts(std::vector<CountRow>& rows) { SortAndAdd(rows); }
void SortLedger(std::vector<LedgerRow>& rows) { SortAndAdd(rows); }

void Segment::Merge(Segment&& after) {
  CHECK(after.first == next);
  MergeCounts(counts, std::move(after.counts));
  MergeLedger(ledger, std::move(after.ledger));
  std::move(after.dead_letters.begin(), after.dead_letters.end(), std::back_inserter(dead_letters));
  next = after.next;
  watermark = after.watermark;
}

// Layout: first next watermark | items: n (string)* | counts: n (pane, location, item index, kind,
// count, first, last)* | ledger: n (known, location, camera, hour, ledger)* | dead letters: n
// (outcome, reason, offset, index, append time, bytes)*.
// A pane is stored as its difference from the row before, `first` and `last` as their difference
// from the pane. Integers are varints (base/bytes.h).
void Segment::Encode(ByteWriter& out) const {
  out.Signed(first.v);
  out.Signed(next.v);
  out.Signed(watermark.v);
  std::vector<std::string_view> items;
  for (const CountRow& row : counts) items.push_back(row.key.item);
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
  out.Varint(items.size());
  for (std::string_view item : items) out.String(item);
  out.Varint(counts.size());
  int64_t pane = 0;
  for (const CountRow& row : counts) {
    out.Signed(row.key.pane_start.v - pane);
    pane = row.key.pane_start.v;
    out.Signed(row.key.location.v);
    out.Varint(static_cast<uint64_t>(std::lower_bound(items.begin(), items.end(), row.key.item) -
                                     items.begin()));
    out.Varint(static_cast<uint64_t>(row.key.kind));
    out.Signed(row.count);
    out.Signed(row.first_detected.v - pane);
    out.Signed(row.last_detected.v - pane);
  }
  out.Varint(ledger.size());
  for (const LedgerRow& row : ledger) {
    out.Varint(row.key.known);
    out.Signed(row.key.location.v);
    out.Signed(row.key.camera.v);
    out.Signed(row.key.hour.v);
    row.ledger.Encode(out);
  }
  out.Varint(dead_letters.size());
  for (const DeadLetter& letter : dead_letters) {
    out.Varint(static_cast<uint64_t>(letter.outcome));
    out.Varint(static_cast<uint64_t>(letter.reason));
    out.Signed(letter.offset.v);
    out.Signed(letter.index);
    out.Signed(letter.append_time.v);
    out.String(letter.bytes);
  }
}

Result<Segment> Segment::Decode(ByteReader& in) {
  Segment segment;
  segment.first = {in.Signed()};
  segment.next = {in.Signed()};
  segment.watermark = {in.Signed()};
  std::vector<std::string_view> items(ReadSize(in));
  for (std::string_view& item : items) item = in.String();
  segment.counts.resize(ReadSize(in));
  EventTime pane;
  for (CountRow& row : segment.counts) {
    bool sane = DecodeTime(in, pane, &row.key.pane_start);
    pane = row.key.pane_start;
    row.key.location = {in.Signed()};
    const uint64_t item = in.Varint();
    if (!in.ok() || item >= items.size())
      return Status::Stop("the segment is damaged: an item index is out of range");
    row.key.item = std::string(items[item]);
    row.key.kind = static_cast<CountKind>(in.Varint() & 1);
    row.count = in.Signed();
    sane &= DecodeTime(in, pane, &row.first_detected);
    sane &= DecodeTime(in, pane, &row.last_detected);
    if (!sane) return Status::Stop("the segment is damaged: a time is out of range");
  }
  segment.ledger.resize(ReadSize(in));
  for (LedgerRow& row : segment.ledger) {
    row.key.known = in.Varint() != 0;
    row.key.location = {in.Signed()};
    row.key.camera = {in.Signed()};
    row.key.hour = {in.Signed()};
    const Result<Ledger> ledger = Ledger::Decode(in);
    if (!ledger.ok()) return Status::Stop("the segment is damaged: " + ledger.status().message());
    row.ledger = ledger.value();
  }
  segment.dead_letters.resize(ReadSize(in));
  for (DeadLetter& letter : segment.dead_letters) {
    const uint64_t outcome = in.Varint();
    const uint64_t reason = in.Varint();
    if (outcome >= kOutcomes || reason >= kMalformedReasons)
      return Status::Stop("the segment is damaged: an outcome or a reason is unknown");
    letter.outcome = static_cast<Outcome>(outcome);
    letter.reason = static_cast<MalformedReason>(reason);
    letter.offset = {in.Signed()};
    letter.index = static_cast<int32_t>(in.Signed());
    letter.append_time = {in.Signed()};
    letter.bytes = std::string(in.String());
  }
  if (!in.ok()) return Status::Stop("the segment is damaged: it is truncated");
  return segment;
}

}  // namespace sightline
