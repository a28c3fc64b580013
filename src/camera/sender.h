// Sender: from a capture to the server's POST /v1/detections, through the disk spool when need be.
//
//   Offer() -> queue (memory, bounded) ------------------> POST, one at a time
//                     \-> spool (disk, bounded) -> POST --/
//
// The contract:
// - One order. What is in the spool is older than what is in the queue and is sent first. A body is
//   forgotten only when the server has answered 200 in the words of docs/PROTOCOL.md (a 200 of
//   anybody else, say of a hotel's login page, is no acknowledgement).
// - At least once. After an unclear answer the same events are sent again; the server tells copies.
// - Away means: no connection, a timeout, 5xx, 408, 429, or an answer that is not our server's.
// Then
//   the queue goes to the spool, and one post is tried after a backoff (or Retry-After when
//   longer).
// - 413 halves the body until single lines are left. Any other 4xx (and such a line) is set aside
//   in <spool>/refused/ with a log line and is not sent again.
// - A capture waits for disk at most, never for the network: see Overflow.
//
// Durability: with kSpool an event older than memory_time is acknowledged or on disk, so kill -9
// loses the last second at most. With kWait the queue is safe only in its origin (a file).
//
// Offer(), counters() and idle() are thread-safe. Two threads inside: the poster (network), and the
// spooler (disk).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/status.h"
#include "camera/http_client.h"
#include "camera/random.h"
#include "camera/spool.h"
#include "model/types.h"

namespace sightline {

// What happens to events that come faster than the server takes them.
enum class Overflow : uint8_t {
  kSpool,  // a live camera: to disk; when that is full, too, NEW events are dropped and counted
  kWait,   // a file: Offer() waits; only an absent server sends events to disk, and none is dropped
};

struct SenderOptions {
  std::string url = "http://127.0.0.1:8080";  // of the server, without a path
  bool gzip = false;                          // Content-Encoding of the bodies
  int64_t batch_events_max = 1'000;           // in one body
  int64_t batch_bytes_max = 4 << 20;          // in one body, before compression
  Millis batch_time{50};                      // an event waits this long for company
  int64_t queue_events_max = 20'000;          // in memory
  int64_t queue_bytes_max = 16 << 20;         // in memory
  Millis memory_time{1'000};                  // kSpool: then the queue goes to disk
  Overflow overflow = Overflow::kSpool;
  Millis offer_time_max{1'000};  // kSpool: Offer() waits this long for disk, then drops
  Millis backoff_min{100};       // after the first failure; doubles with each, with jitter
  Millis backoff_max{5'000};
  Millis retry_after_max{60'000};  // a longer Retry-After is cut to this
  uint64_t seed = 0;               // of the jitter

  // kStop, naming what is wrong.
  Status Validate() const;
};

// All are of events unless they say otherwise, and count from the start of this Sender.
struct SenderCounters {
  int64_t offered = 0;       // taken from the capture
  int64_t sent = 0;          // in requests, copies included
  int64_t acknowledged = 0;  // in bodies answered 200; copies count when a spooled body was halved
  int64_t rejected = 0;      // of the acknowledged: malformed, as the server's answers say
  int64_t refused = 0;       // set aside in <spool>/refused/
  int64_t spooled = 0;       // written to the spool
  int64_t dropped = 0;       // lost: spool full, or refused/ full
  int64_t requests = 0;      // requests
  int64_t retries = 0;       // requests that failed and are repeated
  // What is there now.
  int64_t queued = 0;        // in memory
  int64_t spool_events = 0;  // on disk, those of earlier runs included
  int64_t spool_bytes = 0;   // bytes on disk
  bool away = false;         // the last request failed
};

// How long to wait after the n-th failure in a row: doubling within [min, max], half of it random,
// so that a street of cameras does not come back at the same instant.
class PostBackoff {
 public:
  PostBackoff(Millis min, Millis max, uint64_t seed) : min_(min), max_(max), random_(seed) {}
  Millis Next();
  void Reset() { failures_ = 0; }

 private:
  const Millis min_, max_;
  Random random_;
  int32_t failures_ = 0;
};

class Sender {
 public:
  // What the answer to a post means; for everybody who posts.
  struct Answer {
    enum class Kind : uint8_t { kTaken, kTooLarge, kRefused, kAway } kind = Kind::kAway;
    int64_t rejected = 0;
    std::string reason;  // of kAway and kRefused
  };
  static Answer Classify(const HttpResponse& response);

  // The options must be valid. All three are borrowed and must outlive the Sender. Starts by
  // sending what the spool holds.
  Sender(const SenderOptions& options, Spool* spool, HttpClient* client, const Clock* clock);
  ~Sender();  // Stop() with no time to send

  // One line: a JSON object (or array), without or with its newline. Empty lines are ignored. False
  // when the event was not taken: dropped (see Overflow) or stopped.
  bool Offer(std::string_view line);

  // Sends what is in memory until `deadline` has passed (the spool may stay full), puts what is
  // then unsent on disk and ends the threads. kStop when events could not be put on disk: they are
  // lost.
  Status Stop(Millis deadline);

  // Nothing is left to send, neither in memory nor on disk.
  bool idle() const;
  SenderCounters counters() const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Batch {
    std::string body;
    int64_t events = 0;
    Time since;  // when its first event was offered
  };
  // The body under way. Lives on the poster's stack; the spooler may read `batch` while it spools.
  struct InFlight {
    Batch batch;
    bool on_disk = false;
    SpoolPosition next;  // where it ends on disk
  };
  enum class Delivery : uint8_t { kDone, kAway };

  // Poster.
  void RunPoster();
  bool NextInFlight(InFlight* in_flight);
  bool ReadSpool(InFlight* in_flight);
  Delivery Deliver(const Batch& batch);
  HttpResponse PostBody(std::string_view body);
  void SetAside(std::string_view body, int64_t events, const HttpResponse& response);
  void Finish(InFlight* in_flight, Delivery delivery);
  void ServerFailed(const HttpResponse& response, const std::string& reason);
  void ServerAnswered();

  // Spooler; Spill() also by Stop(). Unlocks while it writes.
  void RunSpooler();
  bool ShouldSpill(Time now) const;
  void Spill(std::unique_lock<std::mutex>& lock);

  // With mutex_ held.
  void Seal();
  bool OpenIsDue(Time now) const;
  bool MemoryEmpty() const;
  bool QueueFull() const;
  Time OldestSince() const;
  void Forget(const Batch& batch);
  void Drop(int64_t events, std::string_view reason);

  const SenderOptions options_;
  const std::string target_;
  Spool* const spool_;
  HttpClient* const client_;
  const Clock* const clock_;

  mutable std::mutex mutex_;
  std::condition_variable space_;      // for Offer() and Stop(): the queue has shrunk
  std::condition_variable post_work_;  // for the poster
  std::condition_variable disk_work_;  // for the spooler
  Batch open_;                         // still filling
  std::deque<Batch> ready_;            // oldest first
  InFlight* in_flight_ = nullptr;
  int64_t queued_events_ = 0;  // open_, ready_ and an in_flight_ that is not on disk
  int64_t queued_bytes_ = 0;
  bool spilling_ = false;       // batches older than ready_ are in the spooler's hands
  Time spill_not_before_;       // after the spool refused a body
  bool spool_refuses_ = false;  // logged once
  Time post_not_before_;        // backoff
  bool away_ = false;
  Time away_since_;
  bool away_logged_ = false;  // of this absence
  Time away_log_time_;
  bool stopping_ = false;  // no more offers
  bool quit_ = false;      // threads end
  bool joined_ = false;
  Time drop_logged_;
  int64_t dropped_unlogged_ = 0;
  SenderCounters counters_;

  // Of the poster.
  PostBackoff backoff_;

  std::thread poster_, spooler_;
};

}  // namespace sightline
