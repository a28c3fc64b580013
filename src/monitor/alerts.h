// AlertRules: takes samples of absolute numbers and returns the alerts that started or ended.
//
// Pure: no clock, thread or I/O; the sample has the time. One thread at a time.
// A rule has a threshold to start an alert and a lower one to end it (hysteresis), and each must
// hold for a while. A rate is the difference of absolute numbers over a window; numbers that went
// down, as after a restart, begin a new window. docs/ALERTS.md explains each rule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/segment.h"
#include "model/types.h"

namespace sightline {

enum class Rule : uint8_t {
  kCameraSilent,
  kLocationSilent,
  kDuplicateStorm,
  kDeadLetterRate,
  kTooLateRate,
  kClockAhead,
  kClockBehind,
  kLagGrowing,
  kWatermarkStalled,
  kStateNearLimit,
  kSinkFailing,
  kClockUnguarded,
  kDegraded,
  kRecordsLost,
  kCameraSplit,
  kServerClock,
  kClockJump,
  kIdConflict,
};
constexpr size_t kRules = 18;
std::string_view ToString(Rule rule);  // "camera_silent"

// A duration or threshold of 0 switches its rule off.
struct AlertOptions {
  Millis window{60'000};       // over which rates are measured
  Millis start_after{10'000};  // how long the threshold must be exceeded to start an alert
  Millis end_after{30'000};    // how long the condition must be over to end it
  int64_t end_percent = 50;  // the threshold to end a rate's alert, in percent of that to start it
  int64_t events_min = 20;   // with fewer events in the window, shares are not evaluated
  // How many alerts of a rule are reported one by one, at a time and per minute; one summary alert
  // stands for the others.
  int64_t subjects_max = 20;
  Millis camera_silent{300'000};
  Millis location_silent{600'000};
  int64_t duplicate_percent = 95;
  int64_t duplicates_per_second = 100;  // fewer are not a storm, whatever their share
  int64_t dead_letter_percent = 5;
  int64_t too_late_percent = 5;
  int64_t clock_percent = 50;  // of a camera's events
  int64_t clock_jumps = 1;     // of a partition's cameras, in the window
  // Of detections whose id is that of another one, in a window of their own: between cameras
  // together, within one camera for itself.
  int64_t id_conflicts = 10;
  Millis id_conflict_window{3'600'000};
  int64_t lag_min = 10'000;  // records
  Millis watermark_stalled{120'000};
  int64_t state_percent = 90;
  Millis sink_stalled{60'000};
};

// A camera and its numbers since it was first seen.
struct CameraSample {
  CameraId camera;
  LocationId location;       // of its newest event
  int64_t last_seen_ms = 0;  // by the clock of MonitorSample::now_ms
  int64_t received = 0;
  int64_t future = 0;
  int64_t too_late = 0;
};
// A camera that sends into two partitions of a topic, so that its copies are not recognised.
struct SplitSample {
  CameraId camera;
  LocationId location;
  int32_t first = 0, second = 0;  // the partitions
};
struct LocationSample {
  LocationId location;
  int64_t last_seen_ms = 0;
};
// Two cameras, the lesser one first, that gave the same ids to different detections; or one camera
// twice.
struct IdConflictSample {
  CameraId first, second;
  int64_t count = 0;  // operators/id_conflicts.h
};
struct SinkSample {
  std::string name;
  Offset committed{-1};  // -1: nothing yet
  Millis interval;       // roughly how often it commits
};
struct PartitionSample {
  int32_t partition = 0;
  std::string topic;  // empty: all partitions are of one topic
  bool running = false;
  bool degraded = false;
  // The offsets that retention removed before they were counted, while that deserves an alert.
  // Equal: none.
  Offset lost_first, lost_next;
  std::string reason;                  // why it does not run; may be empty
  Offset position;                     // the next offset to read
  Offset end;                          // of the log; less than `position`: unknown
  std::optional<Watermark> watermark;  // none: this step has no watermarks
  int64_t clock_jumps = 0;             // operators/clock_jumps.h
  CameraId jumped_camera;              // of the newest of them
  std::vector<IdConflictSample> id_conflicts;
  std::vector<SinkSample> sinks;
};
struct LimitSample {
  std::string name;
  int64_t used = 0;
  int64_t limit = 0;  // 0: no limit
};
struct TroubleSample {
  std::string subject;
  std::string reason;
};

struct ClockSample {
  std::string reason;         // what is wrong with the clock; empty: nothing
  int64_t wall_ahead_ms = 0;  // how far the machine's clock is ahead of the log's time
};

// The state at one moment. A process leaves empty what it does not know.
struct MonitorSample {
  int64_t now_ms = 0;   // on a clock that never goes backwards; measures durations
  int64_t wall_ms = 0;  // Unix time; goes into the alerts
  std::optional<Ledger> ledger;
  std::vector<CameraSample> cameras;
  std::vector<SplitSample> splits;
  std::vector<LocationSample> locations;
  std::vector<PartitionSample> partitions;
  std::vector<LimitSample> limits;
  std::vector<TroubleSample> troubles;     // reported by sinks, logs and brokers
  ClockSample server_clock, broker_clock;  // `reason` is what is wrong with it
  std::string clock_unguarded;             // why the clock guard is off; empty: it is on
};

struct Alert {
  Rule rule = Rule::kCameraSilent;
  // "camera 71", "cameras 10 and 20", "location 7", "partition 3", or the name of a sink or limit.
  // "all": everything in this process. "others": the rule's alerts beyond subjects_max.
  std::string subject;
  bool of_process = false;             // another process may have an alert of the same subject
  std::optional<LocationId> location;  // only a scope with this location may see the alert
  int64_t since_ms = 0;                // Unix time
  int64_t until_ms = 0;                // Unix time; 0: it has not ended
  std::string text;                    // a sentence for people
  std::vector<std::pair<std::string, int64_t>> facts;
};
struct AlertChange {
  bool started = false;  // false: it ended
  Alert alert;
};

class AlertRules {
 public:
  explicit AlertRules(AlertOptions options);
  ~AlertRules();
  AlertRules(AlertRules&&) noexcept;
  AlertRules& operator=(AlertRules&&) noexcept;

  // Returns what started and ended since the last sample. Alerts of a subject that the sample does
  // not have any more end.
  std::vector<AlertChange> Evaluate(const MonitorSample& sample);
  // The active alerts, ordered by rule, then subject, with the facts of the last sample.
  std::vector<Alert> Active() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
