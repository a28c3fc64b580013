// Spool: the edge's disk queue of request bodies, kept while the server is away.
//
// Bodies are appended, read in order from the acknowledged position, and deleted in whole segments
// once they are acknowledged. Delivery is at least once: after a crash the position may be older
// than what the server has, but never newer.
//
//   <directory>/lock                      flock()ed: one Spool at a time
//   <directory>/position                  the acknowledged position, replaced by rename()
//       "SLPOS1 <segment> <offset> <crc32 of the text before>\n"
//   <directory>/<number, 20 digits>.seg   records, one after the other, until the file ends:
//       fixed32 crc32 of all that follows   fixed32 body bytes   fixed32 events   body
//   <directory>/refused/<ms>-<n>-<http status>.ndjson   bodies that the server will never take
//
// Durability: Append() passes a record to the kernel by one write() before it returns, so kill -9
// loses nothing that was appended; the next Open() cuts off a torn last record. fdatasync() follows
// at most sync_interval later (SyncIfDue()), when a segment is full, and in Sync(), so a power cut
// loses at most that much. After a failed write or sync the segment is closed, and the next record
// starts a new one.
//
// Full: the spool never grows beyond bytes_max and never deletes what is not acknowledged. When it,
// or the disk, is full, Append() refuses the NEW body with kRetry; the caller decides whether to
// wait or to drop.
//
// Thread-safe: one thread may append while another reads and acknowledges. events() and bytes()
// never wait for the disk.
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
  int64_t segment_bytes = 8LL << 20;       // a segment of this size is closed
  int64_t refused_bytes_max = 64LL << 20;  // of refused/; KeepRefused() refuses what exceeds it
  Millis sync_interval{1'000};             // between fdatasync() calls while records are appended
  std::function<Status()> append_fault;    // for tests: called by Append(), may wait or fail
};

// A boundary between two records. `events` counts the events before it since Open(), so that two
// positions differ by a number of events; it is not stored.
struct SpoolPosition {
  int64_t segment = 0;
  int64_t offset = 0;
  int64_t events = 0;
};

class Spool {
 public:
  // Cuts off torn records and counts the events. kStop when the directory cannot be used, or
  // another Spool uses it.
  static Result<std::unique_ptr<Spool>> Open(const SpoolOptions& options);
  ~Spool();

  // Returns where the appended record ends. kRetry when the spool is full or the disk refuses the
  // record: nothing was appended.
  Result<SpoolPosition> Append(std::string_view body, int64_t events);

  // Consecutive records from the acknowledged position, joined within both limits; the first record
  // is taken whatever its size. Empty (events 0, next = acknowledged) when there are none. A
  // damaged record is skipped with the rest of its segment, with a log line. kRetry when the disk
  // cannot be read.
  struct Chunk {
    std::string body;
    int64_t events = 0;
    SpoolPosition next;
  };
  Result<Chunk> Read(int64_t events_max, int64_t bytes_max);

  // Everything before `next` is delivered. A failure to store that is only logged, because its
  // worst effect is copies.
  void Acknowledge(SpoolPosition next);

  // Keeps a body that the server will never take, so that a person can look at it. kRetry when it
  // could not be kept.
  Status KeepRefused(std::string_view body, int32_t http_status, int64_t now_ms);

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

  // Written under mutex_, read without it.
  std::atomic<int64_t> appended_events_{0};
  std::atomic<int64_t> acknowledged_events_{0};
  std::atomic<int64_t> bytes_{0};

  // Guards what follows.
  std::mutex mutex_;
  struct Segment {
    int64_t bytes = 0;
    int64_t last_events = 0;  // appended_events_ after its last record
  };
  std::map<int64_t, Segment> segments_;  // by number; the last one may be open
  int64_t next_number_ = 1;
  int segment_fd_ = -1;  // of the last segment while it is written
  SpoolPosition acknowledged_;
  int64_t refused_bytes_ = 0;
  int64_t refused_sequence_ = 0;
  bool unsynced_ = false;            // records wait for an fdatasync()
  bool directory_unsynced_ = false;  // a new segment's name waits for a sync
  std::chrono::steady_clock::time_point last_sync_;
};

}  // namespace sightline
