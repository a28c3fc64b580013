// PlayBack: sends a recording of detections (NDJSON, plain or gzip) in its own rhythm.
//
// Without shift_to_now every line is sent as it is. With it the recording happens now: its first
// event time becomes the present, later ones follow at `speed` (so that event times keep step with
// the wall clock at any speed, and never run into the server's future_tolerance), and every pass
// over the recording has new detection_oids (detection_id.h), which keep telling copies apart.
// The fields "timestamp_detected", "timestamp" and "heartbeat" are shifted, whether they are
// integers, decimal strings or RFC 3339; what is not JSON, or no time, is sent as it is.
// Pauses of more than ten minutes are skipped; single times as far away are taken for wrong clocks.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "model/types.h"

namespace sightline {

struct PlaybackOptions {
  std::string path = "-";     // a file, or "-" for standard input
  double speed = 1;           // 1: as recorded, 10: ten times as fast; 0: as fast as possible
  bool shift_to_now = false;  // move times to the present and give new ids
  bool loop = false;          // from the beginning again, for ever; needs shift_to_now
  int64_t units_per_second = 1'000;  // of integer times: 1, 1'000, 1'000'000 or 1'000'000'000

  Status Validate() const;
};

// The steady clock and waiting on it. Called by the playback's thread only.
class Pacer {
 public:
  virtual ~Pacer() = default;
  virtual int64_t SteadyMs() const = 0;
  // Returns at `steady_ms`, or soon after `stop` is set.
  virtual void WaitUntil(int64_t steady_ms, const std::atomic<bool>& stop) = 0;
};
std::unique_ptr<Pacer> CreateSteadyPacer();

// Where a recording's time lies in sent time: target + (t - origin) / speed. At speed 0 everything
// happens at `target`.
struct TimeShift {
  EventTime origin;
  EventTime target;
  double speed = 1;
  EventTime operator()(EventTime recorded) const;
};

// Reads and rewrites lines; pure. Not thread-safe.
class LineRewriter {
 public:
  explicit LineRewriter(int64_t units_per_second);
  ~LineRewriter();

  // Parses a line for Time() and Rewrite(). The line must outlive them.
  void Parse(std::string_view line);
  // The greatest event time in the line; none when there is none.
  std::optional<EventTime> Time() const;
  // The line with times shifted and ids of this pass.
  std::string_view Rewrite(const TimeShift& shift);

  // A new pass: all ids are new from here on. `wall_ms` is now; returns the milliseconds in the
  // ids.
  int64_t StartPass(int64_t wall_ms);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

// Runs until the recording ends, `stop` is set or `offer` returns false. kStop when the options are
// not valid or the recording cannot be read.
Status PlayBack(const PlaybackOptions& options, const Clock& clock, Pacer& pacer,
                const std::atomic<bool>& stop, const std::function<bool(std::string_view)>& offer);

}  // namespace sightline
