#include "camera/sender.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "camera/gzip.h"

namespace sightline {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kSpoolerTick{50};    // how often ages and syncs are checked
constexpr std::chrono::milliseconds kSpoolRetry{1'000};  // after the spool refused a body
constexpr std::chrono::seconds kDropLogInterval{10};
constexpr std::chrono::seconds kFlapInterval{1};  // between two log lines of an absence

std::chrono::milliseconds Chrono(Millis length) { return std::chrono::milliseconds(length.v); }

std::string Target(std::string url) {
  while (!url.empty() && url.back() == '/') url.pop_back();
  return url + "/v1/detections";
}

// Where the second half of the body's lines begins; npos when the body is one line.
size_t MiddleLine(std::string_view body) {
  const size_t middle = body.find('\n', body.size() / 2);
  if (middle != std::string_view::npos && middle + 1 < body.size()) return middle + 1;
  if (body.size() < 2) return std::string_view::npos;
  const size_t before = body.rfind('\n', std::min(body.size() / 2, body.size() - 2));
  return before == std::string_view::npos ? before : before + 1;
}

std::string FirstBytes(std::string_view text) {
  constexpr size_t kMax = 300;
  std::string first(text.substr(0, kMax));
  std::replace_if(
      first.begin(), first.end(), [](unsigned char c) { return c < 0x20; }, ' ');
  return first;
}

// How many elements the server has kept as malformed; nothing if this is not its answer.
std::optional<int64_t> RejectedBy(const std::string& body) {
  boost::system::error_code error;
  const boost::json::value answer = boost::json::parse(body, error);
  const auto* object = error ? nullptr : answer.if_object();
  const auto* accepted = object ? object->if_contains("accepted") : nullptr;
  const auto* rejected = object ? object->if_contains("rejected") : nullptr;
  if (!accepted || !rejected || !accepted->is_int64() || !rejected->is_int64()) return std::nullopt;
  return rejected->get_int64();
}

}  // namespace

Status SenderOptions::Validate() const {
  if (!url.starts_with("http://") && !url.starts_with("https://") && !url.starts_with("kafka://"))
    return Status::Stop(fmt::format(
        "the server's URL '{}' is not valid: it must begin with http:// or https://", url));
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, int64_t>>{
           {"batch_events_max", batch_events_max},
           {"batch_bytes_max", batch_bytes_max},
           {"batch_time", batch_time.v},
           {"queue_events_max", queue_events_max},
           {"queue_bytes_max", queue_bytes_max},
           {"memory_time", memory_time.v},
           {"offer_time_max", offer_time_max.v},
           {"backoff_min", backoff_min.v},
           {"backoff_max", backoff_max.v},
           {"retry_after_max", retry_after_max.v}})
    if (value < 1 || value > int64_t{1} << 40)
      return Status::Stop(
          fmt::format("{} is {}, out of range: set it between 1 and 2^40", name, value));
  return Status::Ok();
}

Millis PostBackoff::Next() {
  Millis length{2 * min_.v};
  for (int32_t i = 0; i < failures_ && length < max_; ++i) length.v *= 2;
  length = std::min(length, max_);
  ++failures_;
  const double random_part = random_.Uniform() * static_cast<double>(length.v) / 2;
  return std::max(min_, Millis{length.v / 2 + static_cast<int64_t>(random_part)});
}

Sender::Sender(const SenderOptions& options, Spool* spool, HttpClient* client, const Clock* clock)
    : options_(options),
      target_(Target(options.url)),
      spool_(spool),
      client_(client),
      clock_(clock),
      backoff_(options.backoff_min, options.backoff_max, options.seed) {
  CHECK(options.Validate().ok());
  poster_ = std::thread([this] { RunPoster(); });
  spooler_ = std::thread([this] { RunSpooler(); });
}

Sender::~Sender() {
  if (const Status status = Stop({0}); !status.ok()) LogError(status.message());
}

bool Sender::Offer(std::string_view line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  if (line.empty()) return true;
  std::unique_lock lock(mutex_);
  if (QueueFull() && !stopping_) {
    disk_work_.notify_one();
    const auto ready = [this] { return stopping_ || !QueueFull(); };
    // Waiting is hopeless while the spool is known to be full: a live camera must not stall.
    const auto ready_or_hopeless = [&] {
      return ready() || SteadyClock::now() < spill_not_before_;
    };
    if (options_.overflow == Overflow::kWait) {
      space_.wait(lock, ready);
    } else {
      space_.wait_for(lock, Chrono(options_.offer_time_max), ready_or_hopeless);
    }
  }
  if (stopping_) return false;
  if (QueueFull()) {
    Drop(1, "the queue is full, and the spool takes no more");
    return false;
  }
  const auto size = static_cast<int64_t>(line.size()) + 1;
  if (open_.events > 0 && static_cast<int64_t>(open_.body.size()) + size > options_.batch_bytes_max)
    Seal();
  const bool first = open_.events == 0;
  if (first) open_.since = SteadyClock::now();
  open_.body.append(line).push_back('\n');
  ++open_.events;
  queued_bytes_ += size;
  ++queued_events_;
  ++counters_.offered;
  const bool full = open_.events >= options_.batch_events_max;
  if (full) Seal();
  if (full || first) post_work_.notify_one();  // `first` starts its batch_time
  return true;
}

// In three phases: the threads go on sending until the deadline; then they end, which Cancel()
// makes quick; then this thread spools the rest alone.
Status Sender::Stop(Millis deadline) {
  std::unique_lock lock(mutex_);
  if (joined_) return Status::Ok();
  stopping_ = true;
  if (open_.events > 0) Seal();
  space_.notify_all();
  post_work_.notify_one();
  disk_work_.notify_one();
  space_.wait_for(lock, Chrono(deadline), [this] { return MemoryEmpty(); });
  quit_ = true;
  post_work_.notify_one();
  disk_work_.notify_one();
  lock.unlock();
  client_->Cancel();
  poster_.join();
  spooler_.join();
  lock.lock();
  joined_ = true;
  Spill(lock);
  const int64_t lost = queued_events_;
  if (lost > 0) {
    Drop(lost, "the spool did not take them when the sender stopped");
    open_ = {};
    ready_.clear();
    queued_events_ = queued_bytes_ = 0;
  }
  lock.unlock();
  const Status synced = spool_->Sync();
  if (lost > 0)
    return Status::Stop(fmt::format("{} events are lost: the spool '{}' did not take them", lost,
                                    spool_->directory()));
  return synced;
}

bool Sender::idle() const {
  const std::lock_guard lock(mutex_);
  return MemoryEmpty() && !spilling_ && in_flight_ == nullptr && spool_->empty();
}

SenderCounters Sender::counters() const {
  const std::lock_guard lock(mutex_);
  SenderCounters counters = counters_;
  counters.queued = queued_events_;
  counters.spool_events = spool_->events();
  counters.spool_bytes = spool_->bytes();
  counters.away = away_;
  return counters;
}

// -- the poster ----------------------------------------------------------------------------------

void Sender::RunPoster() {
  while (true) {
    InFlight in_flight;
    if (!NextInFlight(&in_flight)) return;
    Finish(&in_flight, Deliver(in_flight.batch));
  }
}

// Waits for the oldest body and makes it in_flight_. False: the thread must end.
bool Sender::NextInFlight(InFlight* in_flight) {
  std::unique_lock lock(mutex_);
  while (true) {
    if (quit_) return false;
    const Time now = SteadyClock::now();
    if (now < post_not_before_) {
      post_work_.wait_until(lock, post_not_before_);
      continue;
    }
    // The spool first: whatever it holds is older than the queue. Reading it may take long, so the
    // capture must not wait for the mutex meanwhile.
    if (!spool_->empty()) {
      lock.unlock();
      if (ReadSpool(in_flight)) {
        lock.lock();
        in_flight_ = in_flight;
        return true;
      }
      lock.lock();
      continue;
    }
    // While the spooler moves batches to disk, those are older than ready_: posting must wait.
    if (!spilling_ && ready_.empty() && OpenIsDue(now)) Seal();
    if (!spilling_ && !ready_.empty()) {
      in_flight->batch = std::move(ready_.front());
      ready_.pop_front();
      in_flight_ = in_flight;
      return true;
    }
    if (!spilling_ && open_.events > 0) {
      post_work_.wait_until(lock, open_.since + Chrono(options_.batch_time));
    } else {
      post_work_.wait(lock);
    }
  }
}

bool Sender::ReadSpool(InFlight* in_flight) {
  auto chunk = spool_->Read(options_.batch_events_max, options_.batch_bytes_max);
  if (!chunk.ok()) {
    LogError(chunk.status().message());
    const std::lock_guard lock(mutex_);
    post_not_before_ = SteadyClock::now() + kSpoolRetry;
    return false;
  }
  in_flight->batch.body = std::move(chunk.value().body);
  in_flight->batch.events = chunk.value().events;
  in_flight->next = chunk.value().next;
  in_flight->on_disk = true;
  return in_flight->batch.events > 0;
}

// Posts the body, in parts when the server finds it too large.
Sender::Delivery Sender::Deliver(const Batch& batch) {
  // A stack of views into the body, the next part on top. A body of n lines makes at most n parts.
  std::vector<std::string_view> parts{batch.body};
  while (!parts.empty()) {
    const std::string_view body = parts.back();
    const int64_t events = std::max<int64_t>(1, std::count(body.begin(), body.end(), '\n'));
    const HttpResponse response = PostBody(body);
    const Answer answer = Classify(response);
    {
      const std::lock_guard lock(mutex_);
      ++counters_.requests;
      counters_.sent += events;
    }
    // Parts that are acknowledged already are sent again with the rest: the server drops the
    // copies.
    if (answer.kind == Answer::Kind::kAway) {
      ServerFailed(response, answer.reason);
      return Delivery::kAway;
    }
    ServerAnswered();
    const size_t middle = MiddleLine(body);
    parts.pop_back();
    if (answer.kind == Answer::Kind::kTooLarge && middle != std::string_view::npos) {
      parts.push_back(body.substr(middle));
      parts.push_back(body.substr(0, middle));
    } else if (answer.kind == Answer::Kind::kTaken) {
      const std::lock_guard lock(mutex_);
      counters_.acknowledged += events;
      counters_.rejected += answer.rejected;
    } else {
      KeepRefused(body, events, response);
    }
  }
  return Delivery::kDone;
}

HttpResponse Sender::PostBody(std::string_view body) {
  std::vector<std::string> headers{"Content-Type: application/x-ndjson"};
  if (!options_.gzip) return client_->Post(target_, headers, body);
  headers.emplace_back("Content-Encoding: gzip");
  return client_->Post(target_, headers, Gzip(body));
}

Sender::Answer Sender::Classify(const HttpResponse& response) {
  using Kind = Answer::Kind;
  const int32_t status = response.status;
  if (status == 0) return {Kind::kAway, 0, response.error};
  if (status == 413) return {Kind::kTooLarge};
  // With 422, the server has the whole body, as malformed. Others may answer 200 and 422, too.
  if (status == 200 || status == 422)
    if (const std::optional<int64_t> rejected = RejectedBy(response.body))
      return {Kind::kTaken, *rejected};
  if (status == 200)
    return {Kind::kAway, 0,
            fmt::format("status 200, but the answer is not from a Sightline server: '{}'",
                        FirstBytes(response.body))};
  // 408 and 429 say "later", all other 4xx say "never".
  if (status >= 400 && status < 500 && status != 408 && status != 429) return {Kind::kRefused};
  return {Kind::kAway, 0, fmt::format("status {}: '{}'", status, FirstBytes(response.body))};
}

void Sender::KeepRefused(std::string_view body, int64_t events, const HttpResponse& response) {
  const Status kept = spool_->KeepRefused(body, response.status, clock_->NowMs());
  const std::lock_guard lock(mutex_);
  if (kept.ok()) {
    counters_.refused += events;
    LogWarning(
        fmt::format("the server refused {} events with status {} ('{}'); they are kept in "
                    "'{}/refused': correct "
                    "them and send them again",
                    events, response.status, FirstBytes(response.body), spool_->directory()));
  } else {
    Drop(events, fmt::format("the server refused them with status {}, and {}", response.status,
                             kept.message()));
  }
}

// Removes a delivered body from memory or disk, or puts an undelivered one back in its place.
void Sender::Finish(InFlight* in_flight, Delivery delivery) {
  std::unique_lock lock(mutex_);
  // The spooler may be writing this very body. The wait is only for the disk; after it on_disk is
  // final, because a later Spill() does not see this body any more.
  post_work_.wait(lock, [this] { return !spilling_; });
  in_flight_ = nullptr;
  if (in_flight->on_disk) {
    if (delivery == Delivery::kDone) {
      lock.unlock();
      spool_->Acknowledge(in_flight->next);
      lock.lock();
      spill_not_before_ = {};  // the spool may have space again
    }
  } else if (delivery == Delivery::kDone) {
    Forget(in_flight->batch);
  } else {
    ready_.push_front(std::move(in_flight->batch));  // it is older than everything in ready_
  }
  space_.notify_all();
  disk_work_.notify_one();
}

void Sender::ServerFailed(const HttpResponse& response, const std::string& reason) {
  const Millis wait = std::max(backoff_.Next(), std::min(response.retry_after.value_or(Millis{0}),
                                                         options_.retry_after_max));
  const std::lock_guard lock(mutex_);
  ++counters_.retries;
  post_not_before_ = SteadyClock::now() + Chrono(wait);
  if (quit_) return;
  const Time now = SteadyClock::now();
  if (!std::exchange(away_, true)) away_since_ = now;
  // A server that fails every other request must not fill the log.
  if (away_logged_ || (away_log_time_ != Time{} && now - away_log_time_ < kFlapInterval)) return;
  away_logged_ = true;
  away_log_time_ = now;
  LogWarning(fmt::format("'{}' is unavailable ({}): events go to the spool '{}' until it is back",
                         target_, reason, spool_->directory()));
}

void Sender::ServerAnswered() {
  backoff_.Reset();
  const std::lock_guard lock(mutex_);
  if (!away_) return;
  away_ = false;
  if (!std::exchange(away_logged_, false)) return;
  const std::chrono::duration<double> length = SteadyClock::now() - away_since_;
  LogInfo(fmt::format("'{}' is available again after {:.1f} s: {} events wait in the spool",
                      target_, length.count(), spool_->events()));
}

// -- the spooler ---------------------------------------------------------------------------------

void Sender::RunSpooler() {
  std::unique_lock lock(mutex_);
  while (!quit_) {
    const Time now = SteadyClock::now();
    if (ShouldSpill(now)) {
      if (OpenIsDue(now)) Seal();
      Spill(lock);
    }
    lock.unlock();
    spool_->SyncIfDue();
    lock.lock();
    if (!quit_ && !ShouldSpill(SteadyClock::now())) disk_work_.wait_for(lock, kSpoolerTick);
  }
}

// With kWait only an absent server sends events to disk, or the end of the run while the spool
// still has older ones. With kSpool also age does, and a queue that is half full.
bool Sender::ShouldSpill(Time now) const {
  const bool movable = !ready_.empty() || (in_flight_ != nullptr && !in_flight_->on_disk);
  if ((!movable && !OpenIsDue(now)) || now < spill_not_before_) return false;
  if (away_ || (stopping_ && !spool_->empty())) return true;
  if (options_.overflow == Overflow::kWait) return false;
  return now - OldestSince() > Chrono(options_.memory_time) ||
         queued_events_ > options_.queue_events_max / 2 ||
         queued_bytes_ > options_.queue_bytes_max / 2;
}

// Moves the body that is being posted and everything in ready_ to the spool, in order, until the
// spool refuses one. That one and all after it stay in memory.
void Sender::Spill(std::unique_lock<std::mutex>& lock) {
  InFlight* const in_flight = in_flight_ != nullptr && !in_flight_->on_disk ? in_flight_ : nullptr;
  std::deque<Batch> batches = std::exchange(ready_, {});
  // Without the lock, so that Offer() goes on. Until spilling_ is false again the poster leaves
  // ready_ alone, and Finish() does not let in_flight_ go.
  spilling_ = true;
  lock.unlock();
  Status status = Status::Ok();
  int64_t done_events = 0, done_bytes = 0;
  auto append = [&](const Batch& batch) {
    auto position = spool_->Append(batch.body, batch.events);
    status = position.status();
    if (!status.ok()) return SpoolPosition{};
    done_events += batch.events;
    done_bytes += static_cast<int64_t>(batch.body.size());
    return position.value();
  };
  SpoolPosition next;
  if (in_flight != nullptr) next = append(in_flight->batch);
  const bool in_flight_on_disk = in_flight != nullptr && status.ok();
  while (status.ok() && !batches.empty()) {
    append(batches.front());
    if (status.ok()) batches.pop_front();
  }
  lock.lock();
  spilling_ = false;
  if (in_flight_on_disk) {
    in_flight->on_disk = true;
    in_flight->next = next;
  }
  counters_.spooled += done_events;
  queued_events_ -= done_events;
  queued_bytes_ -= done_bytes;
  // What the spool refused goes back to the front: Offer() has sealed newer batches meanwhile.
  ready_.insert(ready_.begin(), std::make_move_iterator(batches.begin()),
                std::make_move_iterator(batches.end()));
  if (!status.ok()) {
    spill_not_before_ = SteadyClock::now() + kSpoolRetry;
    if (!std::exchange(spool_refuses_, true)) LogWarning(status.message());
  } else if (done_events > 0) {
    spool_refuses_ = false;
  }
  space_.notify_all();
  post_work_.notify_one();
}

// -- called with mutex_ held ---------------------------------------------------------------------

void Sender::Seal() {
  ready_.push_back(std::exchange(open_, {}));
  open_.body.reserve(ready_.back().body.size());
}

bool Sender::OpenIsDue(Time now) const {
  return open_.events > 0 &&
         (stopping_ || QueueFull() || now >= open_.since + Chrono(options_.batch_time));
}

bool Sender::MemoryEmpty() const { return queued_events_ == 0; }

bool Sender::QueueFull() const {
  return queued_events_ >= options_.queue_events_max || queued_bytes_ >= options_.queue_bytes_max;
}

// The age of the oldest event that is only in memory. Call it only when there is one.
Sender::Time Sender::OldestSince() const {
  if (in_flight_ != nullptr && !in_flight_->on_disk) return in_flight_->batch.since;
  return ready_.empty() ? open_.since : ready_.front().since;
}

void Sender::Forget(const Batch& batch) {
  queued_events_ -= batch.events;
  queued_bytes_ -= static_cast<int64_t>(batch.body.size());
}

void Sender::Drop(int64_t events, std::string_view reason) {
  counters_.dropped += events;
  dropped_unlogged_ += events;
  const Time now = SteadyClock::now();
  if (now - drop_logged_ < kDropLogInterval && drop_logged_ != Time{} && !joined_) return;
  drop_logged_ = now;
  LogError(fmt::format("{} events are lost: {}", std::exchange(dropped_unlogged_, 0), reason));
}

}  // namespace sightline
