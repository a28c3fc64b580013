// Alerts: samples of absolute numbers in, alerts that started or ended out.
//
// Pure: no clock, thread or I/O; the time is in the sample. One AlertRules is used by one thread.
// A rule has a threshold to start and a lower one to end (hysteresis), and both must hold for a
// while. Rates are differences of absolute numbers over a window; numbers that went down (a
// restart) begin the window anew. What each rule means: docs/ALERTS.md.
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
};
constexpr size_t kRules = 15;
std::string_view ToString(Rule rule);  // "camera_silent"

// Of a duration or threshold 0 switches its rule off.
struct AlertOptions {
  Millis window{60'000};       // of rates
  Millis start_after{10'000};  // a threshold is passed for so long
  Millis end_after{30'000};    // and is not any more for so long
  int64_t end_percent = 50;    // of the threshold to start: below it a rate is over
  int64_t events_min = 20;     // in a window; of fewer no share is told
  // Alerts of a rule that are told one by one, at a time and a minute; the rest are one alert.
  int64_t subjects_max = 20;
  Millis camera_silent{300'000};
  Millis location_silent{600'000};
  int64_t duplicate_percent = 95;
  int64_t duplicates_per_second = 100;  // fewer are no storm, whatever their share
  int64_t dead_letter_percent = 5;
  int64_t too_late_percent = 5;
  int64_t clock_percent = 50;  // of a camera's events
  int64_t lag_min = 10'000;    // records
  Millis watermark_stalled{120'000};
  int64_t state_percent = 90;
  Millis sink_stalled{60'000};
};

// What is known of a camera; the numbers since it was first heard of.
struct CameraSample {
  CameraId camera;
  LocationId location;       // where it was last
  int64_t last_seen_ms = 0;  // by the clock of MonitorSample::now_ms
  int64_t received = 0;
  int64_t future = 0;
  int64_t too_late = 0;
};
// A camera that sends into two partitions of a topic: its copies do not meet.
struct SplitSample {
  CameraId camera;
  LocationId location;
  int32_t first = 0, second = 0;  // the partitions
};
struct LocationSample {
  LocationId location;
  int64_t last_seen_ms = 0;
};
struct SinkSample {
  std::string name;
  Offset committed{-1};  // -1: nothing yet
  Millis interval;       // it commits about so often
};
struct PartitionSample {
  int32_t partition = 0;
  std::string topic;  // empty: they are all of one
  bool running = false;
  bool degraded = false;
  // Offsets that retention has removed before they were counted, as long as they are worth an
  // alert. Equal: none.
  Offset lost_first, lost_next;
  std::string reason;                  // why it does not run; may be empty
  Offset position;                     // next offset to read
  Offset end;                          // of the log; less than `position`: not known
  std::optional<Watermark> watermark;  // nothing: this step has none
  std::vector<SinkSample> sinks;
};
struct LimitSample {
  std::string name;
  int64_t used = 0;
  int64_t limit = 0;  // 0: none
};
struct TroubleSample {
  std::string subject;
  std::string reason;
};

// One moment. What a process does not know it leaves empty.
struct MonitorSample {
  int64_t now_ms = 0;   // of a clock that does not go backwards: durations
  int64_t wall_ms = 0;  // Unix: what is told
  std::optional<Ledger> ledger;
  std::vector<CameraSample> cameras;
  std::vector<SplitSample> splits;
  std::vector<LocationSample> locations;
  std::vector<PartitionSample> partitions;
  std::vector<LimitSample> limits;
  std::vector<TroubleSample> troubles;  // of sinks, logs and brokers, as they say it
  std::string clock_unguarded;          // why; empty: it is guarded
};

struct Alert {
  Rule rule = Rule::kCameraSilent;
  // "camera 71", "location 7", "partition 3", the name of a sink or limit; "all": of everything
  // that this process has; "others": those of the rule beyond subjects_max.
  std::string subject;
  bool of_process = false;             // another process may have the same subject
  std::optional<LocationId> location;  // only who sees it may see the alert
  int64_t since_ms = 0;                // Unix
  int64_t until_ms = 0;                // 0: it has not ended
  std::string text;                    // a sentence for people
  std::vector<std::pair<std::string, int64_t>> facts;
};
struct AlertChange {
  bool started = false;  // else ended
  Alert alert;
};

class AlertRules {
 public:
  explicit AlertRules(AlertOptions options);
  ~AlertRules();
  AlertRules(AlertRules&&) noexcept;
  AlertRules& operator=(AlertRules&&) noexcept;

  // What started and ended since the sample before. A subject that is not in the sample any more
  // has ended.
  std::vector<AlertChange> Evaluate(const MonitorSample& sample);
  // By rule, then subject, with the facts of the last sample.
  std::vector<Alert> Active() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
