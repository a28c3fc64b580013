#include "connectors/kafka/append_time_merge.h"

#include <algorithm>

namespace sightline {

void AppendTimeMerge::SetHead(size_t input, AppendTime time) {
  inputs_[input].state = State::kHead;
  inputs_[input].head = time;
}

void AppendTimeMerge::SetEmpty(size_t input, bool at_end, int64_t now_ms) {
  Input& in = inputs_[input];
  if (at_end && in.state != State::kAtEnd) in.at_end_since = now_ms;
  in.state = at_end ? State::kAtEnd : State::kUnknown;
}

void AppendTimeMerge::SetDone(size_t input) { inputs_[input].state = State::kDone; }

std::optional<AppendTimeMerge::Turn> AppendTimeMerge::Next(int64_t now_ms) const {
  std::optional<size_t> first;
  AppendTime second{INT64_MAX};
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const Input& in = inputs_[i];
    // Its next record may be older than every head that is known, so nobody has a turn.
    if (in.state == State::kUnknown) return std::nullopt;
    if (in.state == State::kAtEnd && now_ms - in.at_end_since < hold_max_.v) return std::nullopt;
    if (in.state != State::kHead) continue;
    // Keep the two oldest heads: the first input may give its records up to the head of the second
    // without asking again.
    if (!first) {
      first = i;
    } else if (in.head < inputs_[*first].head) {
      second = inputs_[*first].head;
      first = i;
    } else {
      second = std::min(second, in.head);
    }
  }
  if (!first) return std::nullopt;
  return Turn{*first, second};
}

std::optional<size_t> AppendTimeMerge::awaited() const {
  const auto found = std::ranges::find(inputs_, State::kUnknown, &Input::state);
  if (found == inputs_.end()) return std::nullopt;
  return static_cast<size_t>(found - inputs_.begin());
}

bool AppendTimeMerge::done() const {
  return std::ranges::all_of(inputs_, [](const Input& in) { return in.state == State::kDone; });
}

}  // namespace sightline
