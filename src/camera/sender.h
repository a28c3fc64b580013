// Sender: delivers a capture to the server's POST /v1/detections, through a disk spool if
// necessary.
//
//   Offer() -> queue (memory, bounded) ------------------> POST, one at a time
//                     \-> spool (disk, bounded) -> POST --/
//
// The contract:
// - Order: the spool holds older events than the queue and is sent first. The sender forgets a body
//   only when the server has answered 200 or 422 with the body of docs/PROTOCOL.md: then every
//   element is durable, the rejected ones as malformed. A 200 from anything else, such as a hotel's
//   login page, is not an acknowledgement.
// - Delivery is at least once. After an unclear answer the sender sends the same events again, and
//   the server recognises the copies.
// - The server is away (unavailable) when there is no connection, on a timeout, a 5xx, 408 or 429,
//   and when the answer is not from our server. Then the queue goes to the spool, and the sender
//   retries one post after a backoff, or after Retry-After if that is longer.
// - 413 halves the body, down to single lines. A body with any other 4xx, or a line that is too
//   large, is set aside in <spool>/refused/ with a log line and is not sent again.
// - A capture may wait for the disk, but never for the network: see Overflow.
//
// Durability: with kSpool an event older than memory_time is acknowledged or on disk, so kill -9
// loses at most the last second. With kWait only the origin of the events (a file) is safe.
//
// Offer(), counters() and idle() are thread-safe. The sender has two threads: the poster, which
// waits for the network, and the spooler, which waits for the disk.
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
  kSpool,  // for a live camera: they go to disk; when that is full, NEW events are dropped
  kWait,   // for a file: Offer() waits. Events go to disk only while the server is away
};

struct SenderOptions {
  std::string url = "http://127.0.0.1:8080";  // of the server, without a path
  bool gzip = false;                          // compress the bodies
  int64_t batch_events_max = 1'000;           // in one body
  int64_t batch_bytes_max = 4 << 20;          // in one body, before compression
  Millis batch_time{50};                      // how long an event waits for others to join it
  int64_t queue_events_max = 20'000;          // in memory
  int64_t queue_bytes_max = 16 << 20;         // in memory
  Millis memory_time{1'000};                  // kSpool: an older event goes to disk
  Overflow overflow = Overflow::kSpool;
  Millis offer_time_max{1'000};  // kSpool: how long Offer() waits for the disk before it drops
  Millis backoff_min{100};       // after the first failure; doubles with each one, with jitter
  Millis backoff_max{5'000};
  Millis retry_after_max{60'000};  // limits the server's Retry-After
  uint64_t seed = 0;               // of the jitter

  // kStop names the option that is invalid.
  Status Validate() const;
};

// Counts events, unless a comment says otherwise, since this Sender was created.
struct SenderCounters {
  int64_t offered = 0;       // taken from the capture
  int64_t sent = 0;          // in requests, including copies
  int64_t acknowledged = 0;  // in bodies that the server has; copies count if a body was halved
  int64_t rejected = 0;      // those of the acknowledged that the server calls malformed
  int64_t refused = 0;       // set aside in <spool>/refused/
  int64_t spooled = 0;       // written to the spool
  int64_t dropped = 0;       // lost, because the spool or refused/ was full
  int64_t requests = 0;      // requests
  int64_t retries = 0;       // requests that failed and are repeated
  // The present state.
  int64_t queued = 0;        // in memory
  int64_t spool_events = 0;  // on disk, including those of earlier runs
  int64_t spool_bytes = 0;   // bytes on disk
  bool away = false;         // the last request failed
};

// The wait after the n-th failure in a row. It doubles within [min, max], and half of it is random,
// so that a street full of cameras does not come back at the same instant.
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
  // What the answer to a post means. Also for other code that posts detections.
  struct Answer {
    enum class Kind : uint8_t { kTaken, kTooLarge, kRefused, kAway } kind = Kind::kAway;
    int64_t rejected = 0;
    std::string reason;  // of kAway and kRefused
  };
  static Answer Classify(const HttpResponse& response);

  // The options must be valid. Spool, client and clock are borrowed and must outlive the Sender. It
  // starts by sending what the spool holds.
  Sender(const SenderOptions& options, Spool* spool, HttpClient* client, const Clock* clock);
  ~Sender();  // Stop() with no time to send

  // Takes one line: a JSON object or array, with or without its newline. Ignores empty lines.
  // False: the event was not taken, because it was dropped (see Overflow) or the sender has
  // stopped.
  bool Offer(std::string_view line);

  // Goes on sending what is in memory for at most `deadline`, writes the rest to the spool and ends
  // the threads. The spool keeps what it holds. kStop when events could not be written to disk:
  // they are lost.
  Status Stop(Millis deadline);

  // True when nothing is left to send, neither in memory nor on disk.
  bool idle() const;
  SenderCounters counters() const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Batch {
    std::string body;
    int64_t events = 0;
    Time since;  // when its first event was offered
  };
  // The body that is being posted. It lives on the poster's stack; the spooler may read `batch`
  // while it spools.
  struct InFlight {
    Batch batch;
    bool on_disk = false;
    SpoolPosition next;  // its end in the spool
  };
  enum class Delivery : uint8_t { kDone, kAway };

  // Called on the poster's thread.
  void RunPoster();
  bool NextInFlight(InFlight* in_flight);
  bool ReadSpool(InFlight* in_flight);
  Delivery Deliver(const Batch& batch);
  HttpResponse PostBody(std::string_view body);
  void KeepRefused(std::string_view body, int64_t events, const HttpResponse& response);
  void Finish(InFlight* in_flight, Delivery delivery);
  void ServerFailed(const HttpResponse& response, const std::string& reason);
  void ServerAnswered();

  // Called on the spooler's thread; Stop() calls Spill(), too. Spill() unlocks while it writes.
  void RunSpooler();
  bool ShouldSpill(Time now) const;
  void Spill(std::unique_lock<std::mutex>& lock);

  // Called with mutex_ held.
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
  bool spilling_ = false;       // the spooler holds batches that are older than ready_
  Time spill_not_before_;       // when to try again after the spool refused a body
  bool spool_refuses_ = false;  // the refusal is logged already
  Time post_not_before_;        // the end of the backoff
  bool away_ = false;
  Time away_since_;
  bool away_logged_ = false;  // the present absence is logged
  Time away_log_time_;
  bool stopping_ = false;  // Offer() takes nothing any more
  bool quit_ = false;      // the threads end
  bool joined_ = false;
  Time drop_logged_;
  int64_t dropped_unlogged_ = 0;
  SenderCounters counters_;

  // Used only by the poster.
  PostBackoff backoff_;

  std::thread poster_, spooler_;
};

}  // namespace sightline
