#include "connectors/kafka/join_map.h"

#include <iterator>
#include <utility>

namespace sightline::kafka {

Status JoinMap::Take(Offset at, std::string_view value, StepClock::time_point) {
  const Result<CountsRecord> parsed = ParseCountsRecord(value);
  if (!parsed.ok()) {
    ++refused_;
    return Status::Ok();
  }
  const CountsRecord& record = parsed.value();
  Message message{.topic = to_, .key = {}, .value = std::string(value), .headers = {}};
  if (record.total) {
    const LocationName name = location_(record.total->key.location);
    message.key = CountKeyJson(record.from, record.first, record.total->key, record.pane_size);
    message.value = CountValueJson({record.from, record.spec_id}, record.first, record.next,
                                   *record.total, record.pane_size, &name);
  } else if (record.ledger) {
    message.key = LedgerKeyJson(record.from, record.first, record.ledger->key);
  } else {
    message.key = ProgressKeyJson(record.from);
    // Only here is a commit whole: a position inside it would drop the rest of its records after a
    // restart.
    next_ = {at.v + 1};
    message.headers.emplace_back(
        kPositionHeader, StepPositionJson({.topic_id = topic_id_, .next = next_, .done = {}}));
  }
  messages_.push_back(std::move(message));
  if (record.progress) whole_ = messages_.size();
  return Status::Ok();
}

Result<StepCommit> JoinMap::NextCommit(StepClock::time_point) {
  StepCommit commit{.messages = {}, .position = {.topic_id = topic_id_, .next = next_, .done = {}}};
  // Whole commits only. What was read of the next one stays until its progress record arrives.
  const auto end = messages_.begin() + static_cast<ptrdiff_t>(std::exchange(whole_, 0));
  commit.messages.assign(std::make_move_iterator(messages_.begin()), std::make_move_iterator(end));
  messages_.erase(messages_.begin(), end);
  return commit;
}

}  // namespace sightline::kafka
