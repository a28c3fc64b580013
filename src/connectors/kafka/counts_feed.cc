#include "connectors/kafka/counts_feed.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "connectors/kafka/counts_fold.h"

namespace sightline {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int64_t kFeedRecordsMax = 4'096;
constexpr std::chrono::milliseconds kSleepMax{200};
constexpr std::chrono::seconds kEndsInterval{1};
// A partition that gives nothing for this long is no longer waited for: its leader may be gone for
// good.
constexpr std::chrono::seconds kSilentMax{10};
// Only the first few records that are not ours are logged, not each of them.
constexpr int64_t kRefusedLogged = 3;

}  // namespace

struct KafkaCountsFeed::State {
  struct Follower {
    int32_t partition = 0;
    std::unique_ptr<Source> source;
    bool sought = false;
    bool caught_up = false;
    SteadyClock::time_point heard = SteadyClock::now();
    std::string trouble;
    kafka::CountsFold fold;
  };

  explicit State(KafkaCountsFeedOptions given) : options(std::move(given)) {}

  void Run() {
    auto ends_due = SteadyClock::now();
    while (true) {
      {
        std::unique_lock lock(mutex);
        wake.wait_for(lock, kSleepMax, [this] { return woken || closing; });
        if (closing) break;
        woken = false;
      }
      if (SteadyClock::now() >= ends_due) {
        reader->AskEnds(options.raw_topics());
        ends_due = SteadyClock::now() + kEndsInterval;
      }
      for (bool more = true; more;) {
        more = false;
        for (Follower& follower : followers) more = Read(follower) || more;
        UpdateStats();
        const std::lock_guard lock(mutex);
        if (closing) more = false;
      }
    }
    followers.clear();  // destroyed on the thread that used them
  }

  // Reads one batch. Returns true if there may be more at once.
  bool Read(Follower& follower) {
    Status status = Status::Ok();
    if (!follower.sought) {
      const Result<Offset> earliest = follower.source->Earliest();
      status = earliest.ok() ? follower.source->Seek(earliest.value()) : earliest.status();
      follower.sought = status.ok();
    }
    bool more = false;
    if (status.ok()) {
      const Result<Batch> batch = follower.source->Poll(kFeedRecordsMax);
      status = batch.ok() ? Status::Ok() : batch.status();
      if (batch.ok()) {
        for (const Record& record : batch.value().records) Take(follower, record);
        more = batch.value().next > batch.value().first;
        if (more) follower.heard = SteadyClock::now();
        // Compares with the end that Seek() learned: an empty batch may also mean that nothing has
        // arrived yet.
        if (batch.value().next >= reader->EndOf(options.counts.id, follower.partition).next)
          follower.caught_up = true;
      }
    }
    // Retention has passed the position while this process was away: read what is left from its
    // start. The fold skips what it has seen.
    if (status.code() == StatusCode::kStop) follower.sought = false;
    follower.trouble = status.ok() ? "" : status.message();
    return more;
  }

  // Updates the state once a round, because it depends on every partition.
  void UpdateStats() {
    const auto now = SteadyClock::now();
    const std::lock_guard lock(mutex);
    stats.caught_up = true;
    stats.trouble.clear();
    bool none = true, heard = false;
    for (const Follower& follower : followers) {
      if (stats.trouble.empty()) stats.trouble = follower.trouble;
      none = none && !follower.caught_up;
      stats.caught_up = stats.caught_up && follower.caught_up;
      heard = heard || (!follower.caught_up && now - follower.heard < kSilentMax);
    }
    // Reading is over when all partitions have caught up, or when those that have not are silent;
    // but while none has, there is nothing to show without them.
    stats.reading = !stats.caught_up && (heard || none);
  }

  void Take(Follower& follower, const Record& record) {
    auto taken = follower.fold.Take(record.payload);
    if (taken.ok() && taken.value())
      options.on_segment(taken.value()->from, std::move(taken.value()->segment));
    const std::lock_guard lock(mutex);
    ++stats.records;
    if (taken.ok()) {
      stats.segments += taken.value().has_value();
    } else if (++stats.refused <= kRefusedLogged) {
      LogWarning(fmt::format("topic '{}' partition {} offset {}: {}", options.counts.name,
                             follower.partition, record.offset.v, taken.status().message()));
    }
  }

  const KafkaCountsFeedOptions options;
  std::unique_ptr<KafkaReader> reader;
  std::vector<Follower> followers;
  mutable std::mutex mutex;
  std::condition_variable wake;
  // Under mutex.
  bool woken = true;
  bool closing = false;
  KafkaCountsFeedStats stats;
  std::thread thread;
};

KafkaCountsFeed::KafkaCountsFeed(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<KafkaCountsFeed>> KafkaCountsFeed::Open(KafkaCountsFeedOptions options) {
  Result<std::unique_ptr<KafkaReader>> reader = KafkaReader::Open(options.kafka);
  if (!reader.ok()) return reader.status();
  auto state = std::make_unique<State>(std::move(options));
  State* const s = state.get();
  s->reader = std::move(reader).value();
  const auto notify = [s] {
    const std::lock_guard lock(s->mutex);
    s->woken = true;
    s->wake.notify_one();
  };
  for (int32_t p = 0; p < s->options.counts.partitions; ++p) {
    State::Follower& follower = s->followers.emplace_back();
    follower.partition = p;
    follower.source = s->reader->OpenSource(s->options.counts, p, notify);
  }
  s->thread = std::thread([s] { s->Run(); });
  return std::unique_ptr<KafkaCountsFeed>(new KafkaCountsFeed(std::move(state)));
}

KafkaCountsFeed::~KafkaCountsFeed() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->closing = true;
  }
  state_->wake.notify_one();
  state_->thread.join();
}

LogEnd KafkaCountsFeed::EndOf(const SourcePartition& partition) const {
  return state_->reader->EndOf(std::string(TopicIdOfSource(partition.source)), partition.partition);
}

KafkaCountsFeedStats KafkaCountsFeed::stats() const {
  const std::lock_guard lock(state_->mutex);
  return state_->stats;
}

}  // namespace sightline
