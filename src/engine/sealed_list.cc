#include "engine/sealed_list.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace sightline {

int64_t SegmentBytes(const Segment& segment) {
  size_t bytes = sizeof(Segment) + segment.ledger.size() * sizeof(LedgerRow);
  for (const CountRow& row : segment.counts) bytes += sizeof row + row.key.item.size();
  for (const SetAside& aside : segment.set_aside) bytes += sizeof aside + aside.bytes.size();
  return static_cast<int64_t>(bytes);
}

void SealedList::Add(Segment segment) {
  CHECK(segment.first < segment.next);
  CHECK(empty() || next() == segment.first);
  rows_ += static_cast<int64_t>(segment.rows());
  weights_.push_back(SegmentBytes(segment));
  bytes_ += weights_.back();
  segments_.push_back(std::move(segment));
}

void SealedList::DropUntil(Offset committed) {
  size_t dropped = 0;
  for (; dropped < size() && segments_[dropped].next <= committed; ++dropped) {
    rows_ -= static_cast<int64_t>(segments_[dropped].rows());
    bytes_ -= weights_[dropped];
  }
  segments_.erase(segments_.begin(), segments_.begin() + static_cast<ptrdiff_t>(dropped));
  weights_.erase(weights_.begin(), weights_.begin() + static_cast<ptrdiff_t>(dropped));
}

int64_t SealedList::Merge(std::span<const Offset> kept) {
  int64_t merged = 0;
  if (size() < 2) return merged;
  // From the newest to the oldest, so that a merged one meets the next older one at its new size.
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

bool SealedList::IsBoundary(Offset offset) const {
  if (empty()) return false;
  return offset == first() || std::ranges::binary_search(segments_, offset, {}, &Segment::next);
}

}  // namespace sightline
