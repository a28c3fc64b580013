// PlayBack: sends a recording of detections (NDJSON, plain or gzip) at its own pace.
//
// Without shift_to_now it sends every line unchanged. With it the recording happens now: its first
// event time becomes the present, and later ones follow at `speed`. So event times keep step with
// the wall clock at any speed and never exceed the server's future_tolerance. Every pass over the
// recording has new detection_oids (detection_id.h); copies within a pass still share one.
//
// The fields "timestamp_detected", "timestamp" and "heartbeat" are shifted, whether they are
// integers, decimal strings or RFC 3339. Lines that are not JSON, and fields that are not a time,
// are sent unchanged. A pause of more than ten minutes is skipped; a single time that is as far
// away counts as a wrong clock.
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
  double speed = 1;           // 1: as recorded; 10: ten times as fast; 0: as fast as possible
  bool shift_to_now = false;  // move times to the present and give new ids
  bool loop = false;          // repeat the recording for ever; needs shift_to_now
  int64_t units_per_second = 1'000;  // of integer times: 1, 1'000, 1'000'000 or 1'000'000'000

  Status Validate() const;
};

// The port to the steady clock. Only the playback's thread calls it.
class Pacer {
 public:
  virtual ~Pacer() = default;
  virtual int64_t SteadyMs() const = 0;
  // Returns at `steady_ms`, or soon after `stop` is set.
  virtual void WaitUntil(int64_t steady_ms, const std::atomic<bool>& stop) = 0;
};
std::unique_ptr<Pacer> CreateSteadyPacer();

// Maps recorded time to sent time: target + (t - origin) / speed. At speed 0 everything happens at
// `target`.
struct TimeShift {
  EventTime origin;
  EventTime target;
  double speed = 1;
  EventTime operator()(EventTime recorded) const;
};

// Reads and rewrites lines. Pure; not thread-safe.
class LineRewriter {
 public:
  explicit LineRewriter(int64_t units_per_second);
  ~LineRewriter();

  // Parses a line for Time() and Rewrite(). The line must outlive them.
  void Parse(std::string_view line);
  // The greatest event time in the line, if it has one.
  std::optional<EventTime> Time() const;
  // The line with shifted times and the ids of this pass.
  std::string_view Rewrite(const TimeShift& shift);

  // Starts a new pass, which has new ids. `wall_ms` is now; returns the milliseconds that the ids
  // contain.
  int64_t StartPass(int64_t wall_ms);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

// Runs until the recording ends, `stop` is set or `offer` returns false. kStop when the options are
// invalid or the recording cannot be read.
Status PlayBack(const PlaybackOptions& options, const Clock& clock, Pacer& pacer,
                const std::atomic<bool>& stop, const std::function<bool(std::string_view)>& offer);

}  // namespace sightline
