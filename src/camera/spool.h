// Spool: the edge's disk queue of request bodies, kept while the server is away.
//
// Bodies are appended, read in order from the acknowledged position, and deleted by the segment
// once acknowledged. Delivery through it is at least once: after a crash the position may be older
// than what the server has, never newer.
//
//   <directory>/lock                      flock()ed: one Spool at a time
//   <directory>/position                  the acknowledged position, replaced by rename()
//       "SLPOS1 <segment> <offset> <crc32 of the text before>\n"
//   <directory>/<number, 20 digits>.seg   records, one after the other, until the file ends:
//       fixed32 crc32 of all that follows   fixed32 body bytes   fixed32 events   body
//   <directory>/refused/<ms>-<n>-<http status>.ndjson   bodies that the server will never take
//
// Durability: a record is handed to the kernel by one write() before Append() returns, so a killed
// process (kill -9) loses nothing that was appended; a torn last record is cut at the next Open().
// fdatasync() follows at most sync_interval later (SyncIfDue()), when a segment is full and in
// Sync(), so a power cut loses at most that much. After a failed write or sync the segment is given
// up and the next record starts a new one.
//
// Full: the spool never grows beyond bytes_max and never deletes what is not acknowledged. Append()
// refuses the NEW body with kRetry, and so does a full disk; its caller decides who waits or is
// dropped.
//
// Thread-safe: one thread may append while another reads and acknowledges. Sizes never wait for
// disk.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

struct SpoolOptions {
  std::string directory = "camera-spool";  // created when missing
  int64_t bytes_max = 1LL << 30;           // of all segments together
  int64_t segment_bytes = 8LL << 20;       // a segment is closed when it has reached this
  int64_t refused_bytes_max = 64LL << 20;  // of refused/; beyond it the body is lost, loudly
  Millis sync_interval{1'000};             // between fdatasync() calls while records are appended
  std::function<Status()> append_fault;    // for tests: called by Append(), may wait or fail
};

// Where a record ends and the next one begins. `events` is the number of events before it since
// Open(), so that a difference of positions is a number of events; it is not stored.
struct SpoolPosition {
  int64_t segment = 0;
  int64_t offset = 0;
  int64_t events = 0;
};

class Spool {
 public:
  // Cuts torn tails and counts what is there. kStop when the directory cannot be used or another
  // Spool has it.
  static Result<std::unique_ptr<Spool>> Open(const SpoolOptions& options);
  ~Spool();

  // Where the appended record ends. kRetry when it does not fit or the disk refuses it: nothing was
  // appended.
  Result<SpoolPosition> Append(std::string_view body, int64_t events);

  // Consecutive records from the acknowledged position, joined while they stay within both limits
  // (the first one is taken whatever its size). Empty (events 0, next = acknowledged) when there
  // are none. A damaged record is skipped with the rest of its segment, loudly. kRetry when the
  // disk cannot be read.
  struct Chunk {
    std::string body;
    int64_t events = 0;
    SpoolPosition next;
  };
  Result<Chunk> Read(int64_t events_max, int64_t bytes_max);

  // Everything before `next` is delivered. A failure is logged and forgotten: it can only lead to
  // copies.
  void Acknowledge(SpoolPosition next);

  // Keeps a body that the server will never take, for a person. kRetry when it could not be kept.
  Status SetAside(std::string_view body, int32_t http_status, int64_t now_ms);

  Status Sync();
  void SyncIfDue();

  [[nodiscard]] bool empty() const { return events() == 0; }
  int64_t events() const { return appended_events_.load() - acknowledged_events_.load(); }
  int64_t bytes() const { return bytes_.load(); }  // on disk, acknowledged records included
  const std::string& directory() const { return options_.directory; }

 private:
  explicit Spool(const SpoolOptions& options) : options_(options) {}
  Status LockDirectory();
  Status Recover();
  Status RecoverSegment(int64_t number, int64_t size);
  Status CountRefused();
  void LoadPosition();
  Status StorePosition();
  Status OpenSegment();
  void CloseSegment();
  Status SyncLocked();
  void SkipDamage(int64_t number);
  void DeleteBefore(int64_t number);
  std::string SegmentPath(int64_t number) const;

  const SpoolOptions options_;
  int lock_fd_ = -1;

  // Written under mutex_, read by anyone.
  std::atomic<int64_t> appended_events_{0};
  std::atomic<int64_t> acknowledged_events_{0};
  std::atomic<int64_t> bytes_{0};

  // Under mutex_.
  std::mutex mutex_;
  struct Segment {
    int64_t bytes = 0;
    int64_t last_events = 0;  // value of appended_events_ after its last record
  };
  std::map<int64_t, Segment> segments_;  // by number; the last one may be open
  int64_t next_number_ = 1;
  int segment_fd_ = -1;  // of the last segment while it is written
  SpoolPosition acknowledged_;
  int64_t refused_bytes_ = 0;
  int64_t refused_sequence_ = 0;
  bool unsynced_ = false;            // records ...
  bool directory_unsynced_ = false;  // ... and a segment's name
  std::chrono::steady_clock::time_point last_sync_;
};

}  // namespace sightline
