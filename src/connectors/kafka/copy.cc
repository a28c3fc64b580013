#include "connectors/kafka/copy.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <utility>

#include "base/check.h"
#include "connectors/kafka/append_time_merge.h"
#include "connectors/kafka/copy_writer.h"

namespace sightline {
namespace {

constexpr int64_t kPollRecords = 4'096;
// The positions are committed again even if nothing was copied. Kafka forgets a group's offsets
// some days after their last commit, and only a process that commits learns that it was fenced.
constexpr Millis kCommitAgain{10'000};

}  // namespace

struct KafkaCopy::State {
  State(KafkaCopyOptions given, const std::atomic<bool>& stop)
      : options(std::move(given)),
        writer({.kafka = options.kafka,
                .to = options.to.name,
                .name = options.name,
                .offsets_topic = options.offsets_topic,
                .to_id = options.to.id,
                .what = options.what},
               stop),
        map(options.by, options.decode, options.to.partitions) {}

  struct Input {
    std::unique_ptr<CopyInput> input;
    bool sought = false;
    Offset next;                  // everything before it has been mapped
    std::optional<Offset> until;  // the copy ends here
    CopyBatch batch;              // what is read ahead: the records from `taken` on
    size_t taken = 0;
    [[nodiscard]] bool empty() const { return taken == batch.records.size(); }
    const CopyRecord& head() const { return batch.records[taken]; }
  };

  Status Fill(size_t index, int64_t now_ms);
  void Advance(size_t index, int64_t now_ms);
  void Take(const AppendTimeMerge::Turn& turn, int64_t now_ms);
  void Pace(int64_t commit_ms);
  bool Full() const;
  bool Due(int64_t now_ms) const;
  Status Commit(int64_t now_ms);

  const KafkaCopyOptions options;
  kafka::CopyWriter writer;
  RekeyMap map;
  std::optional<AppendTimeMerge> merge;
  std::vector<Input> inputs;
  // The content of the next transaction.
  std::vector<KeyedRecord> records;
  int64_t records_read = 0, bytes = 0;
  std::map<int32_t, Offset> positions;
  std::map<int32_t, Offset> committed;
  int64_t committed_ms = 0;
  // A transaction holds this part of what the options allow, about 1,024 records at first.
  int64_t part = std::max<int64_t>(1, options.commit_records_max / 1'024);
  AppendTime time = kNoAppendTime;
  KafkaCopyStats stats;
};

Status KafkaCopy::State::Fill(size_t index, int64_t now_ms) {
  Input& in = inputs[index];
  if (!in.empty() || (in.until && in.next >= *in.until)) return Status::Ok();
  if (!in.sought) {
    RETURN_IF_ERROR(in.input->Seek(in.next));
    in.sought = true;
  }
  Result<CopyBatch> polled = in.input->Poll(kPollRecords);
  if (!polled.ok()) return polled.status();
  in.batch = std::move(polled).value();
  in.taken = 0;
  if (in.until) {
    std::erase_if(in.batch.records, [&](const CopyRecord& r) { return r.offset >= *in.until; });
    in.batch.next = std::min(in.batch.next, *in.until);
  }
  Advance(index, now_ms);
  return Status::Ok();
}

// Updates the merge and the position of an input after records were read or taken.
void KafkaCopy::State::Advance(size_t index, int64_t now_ms) {
  Input& in = inputs[index];
  if (!in.empty()) {
    // Offsets have holes (transaction markers): the position is that of the next record, or of the
    // batch's end.
    in.next = std::max(in.next, in.head().offset);
    merge->SetHead(index, in.head().time);
  } else {
    in.next = std::max(in.next, in.batch.next);
    if (in.until && in.next >= *in.until) {
      merge->SetDone(index);
    } else {
      merge->SetEmpty(index, in.next >= in.input->end(), now_ms);
    }
  }
  positions[static_cast<int32_t>(index)] = in.next;
}

void KafkaCopy::State::Take(const AppendTimeMerge::Turn& turn, int64_t now_ms) {
  Input& in = inputs[turn.input];
  // Up to the head of the next older input. A full transaction may end the turn early: the merge
  // then gives the same input the next turn.
  while (!in.empty() && in.head().time <= turn.until && !Full()) {
    const CopyRecord& record = in.head();
    const size_t before = records.size();
    map.Map({.partition = static_cast<int32_t>(turn.input),
             .key = record.key,
             .value = record.value,
             .has_value = record.has_value},
            records);
    for (size_t i = before; i < records.size(); ++i)
      bytes += static_cast<int64_t>(records[i].value.value_or("").size());
    time = std::max(time, record.time);
    ++records_read;
    in.next = {record.offset.v + 1};
    ++in.taken;
  }
  Advance(turn.input, now_ms);
}

bool KafkaCopy::State::Full() const {
  return std::ssize(records) >= std::max<int64_t>(1, options.commit_records_max / part) ||
         bytes >= options.commit_bytes_max / part;
}

bool KafkaCopy::State::Due(int64_t now_ms) const {
  if (Full()) return true;
  if (now_ms - committed_ms < options.commit_interval.v) return false;
  // Positions alone are worth a transaction only at the end, or as the sign of life above.
  if (!records.empty() || (merge->done() && positions != committed)) return true;
  return now_ms - committed_ms >= kCommitAgain.v;
}

// A broker that is slow, or that throttles this client, must not take longer for a transaction than
// the coordinator allows: it would end the transaction, and the copy with it.
void KafkaCopy::State::Pace(int64_t commit_ms) {
  constexpr int64_t kPartMax = 1'024;
  const int64_t allowed = options.kafka.transaction_timeout.v;
  if (commit_ms < allowed / 20) part = std::max<int64_t>(1, part / 2);
  if (commit_ms > allowed / 5) part = std::min(kPartMax, part * 4);
}

Status KafkaCopy::State::Commit(int64_t now_ms) {
  const auto begin = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(writer.Commit(records, positions));
  Pace(std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                             begin)
           .count());
  stats.written += std::ssize(records);
  stats.read += records_read;
  stats.bytes += bytes;
  stats.time = time;
  stats.split = map.split();
  stats.unreadable = map.unreadable();
  ++stats.commits;
  records.clear();
  records_read = bytes = 0;
  committed = positions;
  committed_ms = now_ms;
  return Status::Ok();
}

KafkaCopy::KafkaCopy(KafkaCopyOptions options, const std::atomic<bool>& stop)
    : state_(std::make_unique<State>(std::move(options), stop)) {}
KafkaCopy::~KafkaCopy() = default;

Status KafkaCopy::Fence() { return state_->writer.Fence(); }

Result<std::map<int32_t, Offset>> KafkaCopy::Positions(int32_t partitions) {
  return state_->writer.Positions(partitions);
}

Status KafkaCopy::Begin(std::vector<std::unique_ptr<CopyInput>> inputs,
                        const std::vector<Offset>& from, std::optional<std::vector<Offset>> until) {
  CHECK(inputs.size() == from.size() && (!until || until->size() == from.size()));
  State& s = *state_;
  s.merge.emplace(inputs.size(), s.options.hold_max);
  for (size_t i = 0; i < inputs.size(); ++i) {
    State::Input& in = s.inputs.emplace_back();
    in.input = std::move(inputs[i]);
    in.next = from[i];
    if (until) in.until = (*until)[i];
    if (in.until && in.next >= *in.until) s.merge->SetDone(i);
    s.positions[static_cast<int32_t>(i)] = from[i];
  }
  // Commits the starting positions at once: a copy that was begun and had nothing to copy yet is
  // then known as one.
  RETURN_IF_ERROR(s.writer.Commit({}, s.positions));
  s.committed = s.positions;
  s.stats.running = true;
  return Status::Ok();
}

Status KafkaCopy::Step(int64_t now_ms) {
  State& s = *state_;
  bool worked = false;
  while (!s.Full()) {
    for (size_t i = 0; i < s.inputs.size(); ++i) {
      const Status filled = s.Fill(i, now_ms);
      if (filled.code() == StatusCode::kRetry) {
        s.merge->SetEmpty(i, false, now_ms);  // its next record is unknown: it holds up the others
      } else {
        RETURN_IF_ERROR(filled);
      }
    }
    const std::optional<AppendTimeMerge::Turn> turn = s.merge->Next(now_ms);
    if (!turn) break;
    s.Take(*turn, now_ms);
    worked = true;
  }
  if (s.Due(now_ms)) {
    RETURN_IF_ERROR(s.Commit(now_ms));
    worked = true;
  }
  return worked ? Status::Ok() : Status::Retry("");
}

bool KafkaCopy::done() const {
  const State& s = *state_;
  return s.merge && s.merge->done() && s.records.empty() && s.positions == s.committed;
}

KafkaCopyStats KafkaCopy::stats() const {
  const State& s = *state_;
  KafkaCopyStats stats = s.stats;
  for (size_t i = 0; i < s.inputs.size(); ++i) {
    const auto committed = s.committed.find(static_cast<int32_t>(i));
    const Offset next = committed == s.committed.end() ? Offset{} : committed->second;
    const State::Input& in = s.inputs[i];
    stats.partitions.push_back({next, std::max(next, in.until.value_or(in.input->end()))});
  }
  if (s.merge)
    if (const auto awaited = s.merge->awaited()) stats.awaited = static_cast<int32_t>(*awaited);
  return stats;
}

}  // namespace sightline
