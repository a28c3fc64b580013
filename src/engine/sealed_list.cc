#include "engine/sealed_list.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sightline {

int64_t SegmentBytes(const Segment& segment) {
  size_t bytes = sizeof(Segment) + segment.ledger.size() * sizeof(LedgerRow);
  for (const CountRow& row : segment.counts) bytes += sizeof row + row.key.item.size();
  for (const DeadLetter& letter : segment.dead_letters)
    bytes += sizeof letter + letter.bytes.size();
  return static_cast<int64_t>(bytes);
}

void SealedList::Add(Segment segment) {
  CHECK(segment.first < segment.next);
  // Contiguity is what compare-and-set and the cuts at committed offsets rely on.
  CHECK(empty() || next() == segment.first);
  rows_ += static_cast<int64_t>(segment.rows());
  weights_.push_back(SegmentBytes(segment));
  bytes_ += weights_.back();
  segments_.push_back(std::move(segment));
}

void SealedList::AddRun(SpilledRun run) {
  CHECK(segments_.empty() && run.first < run.next());
  CHECK(runs_.empty() || next() == run.first);
  spilled_bytes_ += run.bytes;
  runs_.push_back(std::move(run));
}

void SealedList::DropUntil(Offset committed) {
  const auto kept =
      std::ranges::find_if(runs_, [&](const SpilledRun& run) { return run.next() > committed; });
  for (auto run = runs_.begin(); run != kept; ++run) spilled_bytes_ -= run->bytes;
  runs_.erase(runs_.begin(), kept);
  size_t dropped = 0;
  // Only whole segments go: a sink's committed offset never lies inside one.
  while (dropped < size() && segments_[dropped].next <= committed) ++dropped;
  Forget(dropped);
}

void SealedList::Forget(size_t oldest) {
  for (size_t i = 0; i < oldest; ++i) {
    rows_ -= static_cast<int64_t>(segments_[i].rows());
    bytes_ -= weights_[i];
  }
  segments_.erase(segments_.begin(), segments_.begin() + static_cast<ptrdiff_t>(oldest));
  weights_.erase(weights_.begin(), weights_.begin() + static_cast<ptrdiff_t>(oldest));
}

std::span<const Segment> SealedList::Oldest(int64_t bytes_max, Offset limit) const {
  size_t n = 0;
  int64_t bytes = 0;
  for (; n < size() && segments_[n].next <= limit; ++n) {
    bytes += weights_[n];
    if (n > 0 && bytes > bytes_max) break;
  }
  return in_memory().first(n);
}

void SealedList::Spill(SpilledRun run) {
  const size_t n = run.boundaries.size();
  // The run must describe exactly the oldest segments: they leave memory because of it.
  CHECK(n <= size() && segments_.front().first == run.first);
  for (size_t i = 0; i < n; ++i) CHECK(segments_[i].next == run.boundaries[i]);
  Forget(n);
  spilled_bytes_ += run.bytes;
  runs_.push_back(std::move(run));
}

int64_t SealedList::Merge(std::span<const Offset> kept) {
  int64_t merged = 0;
  if (size() < 2) return merged;
  // From the newest to the oldest, so that a merged segment meets the next older one at its new
  // size.
  for (size_t older = size() - 1; older-- > 0;) {
    if (!SmallEnough(older)) continue;
    if (std::ranges::find(kept, segments_[older].next) != kept.end()) continue;
    MergeWithNext(older);
    ++merged;
  }
  return merged;
}

void SealedList::MergeAll() {
  while (size() > 1) MergeWithNext(size() - 2);
}

bool SealedList::SmallEnough(size_t older) const {
  const size_t rows = segments_[older].rows();
  const size_t newer_rows = segments_[older + 1].rows();
  // Lost offsets stay apart from counted ones, so that a sink can report exactly the lost ranges.
  if (segments_[older].IsGap() != segments_[older + 1].IsGap()) return false;
  return 2 * newer_rows >= rows && rows + newer_rows <= limits_.rows_max &&
         weights_[older] + weights_[older + 1] <= limits_.bytes_max;
}

void SealedList::MergeWithNext(size_t older) {
  Segment& into = segments_[older];
  Segment& after = segments_[older + 1];
  const size_t rows_before = into.rows() + after.rows();
  into.Merge(std::move(after));
  rows_ += static_cast<int64_t>(into.rows()) - static_cast<int64_t>(rows_before);
  bytes_ -= weights_[older] + weights_[older + 1];
  weights_[older] = SegmentBytes(into);
  bytes_ += weights_[older];
  segments_.erase(segments_.begin() + static_cast<ptrdiff_t>(older) + 1);
  weights_.erase(weights_.begin() + static_cast<ptrdiff_t>(older) + 1);
}

std::span<const Segment> SealedList::Between(Offset first, Offset next) const {
  if (first >= next) return {};
  const auto from = std::ranges::lower_bound(segments_, first, {}, &Segment::first);
  const auto to = std::ranges::lower_bound(segments_, next, {}, &Segment::first);
  CHECK(from != segments_.end() && from->first == first);
  CHECK(std::prev(to)->next == next);
  return {from, to};
}

const SpilledRun* SealedList::RunAt(Offset offset) const {
  // Runs and segments are sorted and contiguous, so both look-ups are binary searches by the end
  // offset.
  const auto run = std::ranges::upper_bound(runs_, offset, {}, &SpilledRun::next);
  return run != runs_.end() && run->first <= offset ? &*run : nullptr;
}

bool SealedList::IsBoundary(Offset offset) const {
  if (empty()) return false;
  if (offset == first() || std::ranges::binary_search(segments_, offset, {}, &Segment::next))
    return true;
  const auto run = std::ranges::lower_bound(runs_, offset, {}, &SpilledRun::next);
  return run != runs_.end() && std::ranges::binary_search(run->boundaries, offset);
}

Offset SealedList::BoundaryFrom(Offset offset) const {
  if (offset <= first()) return first();
  CHECK(offset <= next());
  if (const auto run = std::ranges::lower_bound(runs_, offset, {}, &SpilledRun::next);
      run != runs_.end())
    return *std::ranges::lower_bound(run->boundaries, offset);
  return std::ranges::lower_bound(segments_, offset, {}, &Segment::next)->next;
}

bool SealedList::Exceeds(Offset offset, size_t size_max, int64_t bytes_max) const {
  size_t n = 0;
  int64_t bytes = 0;
  for (size_t i = size(); i-- > 0 && segments_[i].first >= offset;) {
    bytes += weights_[i];
    if (++n > size_max || bytes > bytes_max) return true;
  }
  return false;
}

}  // namespace sightline
