#include "monitor/alerts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <compare>

namespace sightline {
namespace {

constexpr std::array<std::string_view, kRules> kNames = {
    "camera_silent", "location_silent", "duplicate_storm", "dead_letter_rate",  "too_late_rate",
    "clock_ahead",   "clock_behind",    "lag_growing",     "watermark_stalled", "state_near_limit",
    "sink_failing",  "clock_unguarded", "degraded",        "records_lost",      "camera_split",
    "server_clock",  "clock_jump",      "id_conflict"};
constexpr int64_t kMinute = 60'000;
// A limit is a level, not a rate: its alert ends this many percentage points below the threshold.
constexpr int64_t kLimitPointsBack = 5;
// The windows of cameras move in steps, because a sample per second for thousands of cameras would
// take much memory.
constexpr int64_t kCameraSteps = 6;
// The pairs of cameras whose conflicts are watched. More are told as `others` anyway.
constexpr size_t kConflictPairsMax = 1'000;

// Keeps absolute numbers over a window; Grown() is their growth within it.
template <size_t kNumbers>
class Growth {
 public:
  using Numbers = std::array<int64_t, kNumbers>;

  // Keeps at most one entry per `step_ms`. A number that went down clears the window.
  void Add(int64_t now_ms, const Numbers& numbers, int64_t window_ms, int64_t step_ms) {
    if (!kept_.empty())
      for (size_t i = 0; i < kNumbers; ++i)
        if (numbers[i] < newest_[i]) {
          kept_.clear();
          break;
        }
    newest_ = numbers;
    if (kept_.empty() || now_ms - kept_.back().at_ms >= step_ms) kept_.push_back({now_ms, numbers});
    // One entry at or before the window's start stays, as the one to subtract.
    size_t old = 0;
    while (old + 1 < kept_.size() && kept_[old + 1].at_ms <= now_ms - window_ms) ++old;
    kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(old));
    span_ms_ = now_ms - kept_.front().at_ms;
  }
  Numbers Grown() const {
    Numbers grown = newest_;
    for (size_t i = 0; i < kNumbers; ++i) grown[i] -= kept_.front().numbers[i];
    return grown;
  }
  int64_t span_ms() const { return span_ms_; }

 private:
  struct Entry {
    int64_t at_ms = 0;
    Numbers numbers{};
  };
  std::vector<Entry> kept_;
  Numbers newest_{};
  int64_t span_ms_ = 0;
};

int64_t Percent(int64_t part, int64_t whole) { return whole <= 0 ? 0 : part * 100 / whole; }

std::string InSeconds(int64_t ms) { return fmt::format("{} s", ms / 1'000); }

std::pair<std::string, int32_t> PartitionOf(const PartitionSample& partition) {
  return {partition.topic, partition.partition};
}
std::string NameOf(const PartitionSample& partition) {
  return partition.topic.empty()
             ? fmt::format("partition {}", partition.partition)
             : fmt::format("partition {} of topic '{}'", partition.partition, partition.topic);
}

std::string TextOfIdConflict(CameraId first, CameraId second, int64_t conflicts, Millis window) {
  if (first != second)
    return fmt::format(
        "cameras {} and {} send the same detection_oid for different detections ({} in the last "
        "{}), and only the first counts: set pipeline.identity = camera_and_detection in a new "
        "pipeline (a new data folder, or sightline handover)",
        first.v, second.v, conflicts, InSeconds(window.v));
  return fmt::format(
      "the tracker of camera {} gives the same detection_oid again for another item or location "
      "({} in the last {}), and only the first counts: make its ids go on over restarts, for "
      "example with the time of its start in front",
      first.v, conflicts, InSeconds(window.v));
}

}  // namespace

std::string_view ToString(Rule rule) { return kNames[static_cast<size_t>(rule)]; }

struct AlertRules::State {
  struct Key {
    Rule rule = Rule::kCameraSilent;
    int64_t id = 0;
    std::string name;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Subject {
    int64_t evaluation = 0;  // the last evaluation whose sample had it
    std::optional<int64_t> bad_since, good_since;
    bool active = false;
    bool reported = false;  // as an alert of its own, not as one of the others
    Alert alert;
  };
  struct Flood {
    int64_t reported = 0;            // active alerts with a report of their own
    int64_t others = 0;              // active alerts without one
    std::deque<int64_t> started_ms;  // when alerts were reported in the last minute
    std::optional<int64_t> none_since;
    std::optional<Alert> summary;
  };
  // What the sample says about a subject. Neither bad nor good: between the two thresholds.
  struct Finding {
    bool bad = false;
    bool good = true;
    Millis start_after, end_after;
  };
  // When a number last changed.
  struct LastChange {
    int64_t number = 0;
    int64_t at_ms = 0;
    int64_t position = 0;  // at that moment
  };
  // How long and over how many records a watermark has not moved.
  struct StalledWatermark {
    std::optional<Watermark> watermark;
    Offset moved_at, seen_at;  // the positions when it last moved, and now
    int64_t last_ms = 0;       // when the last record came
    int64_t stalled_ms = 0;    // the time between records, without pauses
  };

  explicit State(AlertOptions given) : options(given) {}

  void EvaluateSilence();
  void EvaluateLedger();
  void EvaluateClocks();
  void EvaluateJumps();
  void EvaluateIdConflicts();
  void AddIdConflicts();
  void EvaluateClock(std::string_view subject, const ClockSample& clock);
  void EvaluateLag();
  void EvaluateWatermarks();
  void EvaluateSinks();
  void EvaluateStates();
  void EvaluateLosses();
  void EvaluateSplits();
  void EvaluateShare(Rule rule, int64_t percent, int64_t part, int64_t whole, bool also,
                     const char* what);
  // Starts or ends the subject's alert as the finding says. Calls `describe`, which fills subject,
  // text and facts, only if somebody will read them.
  template <typename Describe>
  void Evaluate(const Key& key, const Finding& finding, Describe describe);
  void Start(const Key& key, Subject& subject);
  void End(const Key& key, Subject& subject);
  void EndMissing();
  void Summarise();
  Finding FindingOf(bool bad) const {
    return {.bad = bad,
            .good = !bad,
            .start_after = options.start_after,
            .end_after = options.end_after};
  }

  const AlertOptions options;
  const MonitorSample* sample = nullptr;  // in Evaluate()
  std::vector<AlertChange>* changes = nullptr;
  int64_t now_ms = 0;
  int64_t evaluation = 0;
  std::map<Key, Subject> subjects;
  std::array<Flood, kRules> floods;
  std::optional<Growth<5>> ledger;
  struct Clock {
    Growth<3> growth;
    int64_t evaluation = 0;  // the last evaluation whose sample had its camera
  };
  std::map<CameraId, Clock> clocks;                   // of cameras whose clock was ever wrong
  std::deque<std::pair<int64_t, int64_t>> lags;       // time and lag in records
  using Partition = std::pair<std::string, int32_t>;  // topic and number
  std::map<Partition, Growth<1>> jumps;
  using CameraPair = std::pair<CameraId, CameraId>;
  struct IdConflict {
    int64_t count = 0;  // over all partitions; never goes down
    Growth<1> growth;
  };
  std::map<CameraPair, IdConflict> id_conflicts;  // of the window
  // What the last sample had of each partition.
  std::map<Partition, std::map<CameraPair, int64_t>> id_conflicts_before;
  std::map<Partition, StalledWatermark> watermarks;
  std::map<std::pair<std::string, Partition>, LastChange> sinks;
};

// -- starting and ending --------------------------------------------------------------------------

template <typename Describe>
void AlertRules::State::Evaluate(const Key& key, const Finding& finding, Describe describe) {
  auto found = subjects.find(key);
  if (found == subjects.end()) {
    if (!finding.bad) return;
    found = subjects.emplace(key, Subject{}).first;
  }
  Subject& subject = found->second;
  subject.evaluation = evaluation;
  if (finding.bad) {
    if (!subject.bad_since) subject.bad_since = now_ms;
    subject.good_since.reset();
  } else {
    subject.bad_since.reset();
    if (!finding.good) subject.good_since.reset();
    if (finding.good && !subject.good_since) subject.good_since = now_ms;
  }
  if (subject.active || finding.bad) {
    subject.alert.rule = key.rule;
    describe(subject.alert);
  }
  if (!subject.active && subject.bad_since && now_ms - *subject.bad_since >= finding.start_after.v)
    return Start(key, subject);
  if (!subject.good_since || now_ms - *subject.good_since < finding.end_after.v) {
    // It was not bad for long enough and is good again: there is nothing to remember.
    if (!subject.active && finding.good) subjects.erase(found);
    return;
  }
  if (subject.active) End(key, subject);
  subjects.erase(found);
}

void AlertRules::State::Start(const Key& key, Subject& subject) {
  Flood& flood = floods[static_cast<size_t>(key.rule)];
  while (!flood.started_ms.empty() && flood.started_ms.front() <= now_ms - kMinute)
    flood.started_ms.pop_front();
  subject.active = true;
  subject.alert.since_ms = sample->wall_ms;
  const auto recent = static_cast<int64_t>(flood.started_ms.size());
  subject.reported = std::max(flood.reported, recent) < options.subjects_max;
  if (!subject.reported) {
    ++flood.others;
    return;
  }
  ++flood.reported;
  flood.started_ms.push_back(now_ms);
  changes->push_back({.started = true, .alert = subject.alert});
}

void AlertRules::State::End(const Key& key, Subject& subject) {
  Flood& flood = floods[static_cast<size_t>(key.rule)];
  subject.active = false;
  if (!subject.reported) {
    --flood.others;
    return;
  }
  --flood.reported;
  subject.alert.until_ms = sample->wall_ms;
  changes->push_back({.started = false, .alert = std::move(subject.alert)});
}

void AlertRules::State::EndMissing() {
  for (auto it = subjects.begin(); it != subjects.end();) {
    const auto subject = it++;
    if (subject->second.evaluation == evaluation) continue;
    if (subject->second.active) End(subject->first, subject->second);
    subjects.erase(subject);
  }
}

// One alert stands for all beyond subjects_max. It starts and ends once, however many of them come
// and go meanwhile.
void AlertRules::State::Summarise() {
  for (size_t rule = 0; rule < kRules; ++rule) {
    Flood& flood = floods[rule];
    if (flood.others > 0) flood.none_since.reset();
    if (flood.others > 0 && !flood.summary) {
      flood.summary = Alert{.rule = static_cast<Rule>(rule),
                            .subject = "others",
                            .of_process = true,
                            .since_ms = sample->wall_ms};
    }
    if (!flood.summary) continue;
    const bool fresh = flood.summary->text.empty();
    flood.summary->text = fmt::format("{} more alerts, beyond the {} that are reported one by one",
                                      flood.others, options.subjects_max);
    flood.summary->facts = {{"subjects", flood.others}};
    if (fresh) changes->push_back({.started = true, .alert = *flood.summary});
    if (flood.others > 0) continue;
    if (!flood.none_since) flood.none_since = now_ms;
    if (now_ms - *flood.none_since < options.end_after.v) continue;
    flood.summary->until_ms = sample->wall_ms;
    changes->push_back({.started = false, .alert = *flood.summary});
    flood.summary.reset();
  }
}

// -- the rules ------------------------------------------------------------------------------------

void AlertRules::State::EvaluateSilence() {
  const auto silence = [this](const Key& key, int64_t last_seen_ms, Millis threshold,
                              LocationId place, const char* what) {
    if (threshold.v == 0) return;
    const int64_t silent_ms = now_ms - last_seen_ms;
    const bool bad = silent_ms >= threshold.v;
    // The threshold is a duration already, so the alert starts at once; one event ends it.
    Evaluate(
        key, {.bad = bad, .good = !bad, .start_after = {}, .end_after = {}}, [&](Alert& alert) {
          alert.subject = fmt::format("{} {}", what, key.id);
          alert.location = place;
          alert.text = fmt::format("nothing from {} {} for {}", what, key.id, InSeconds(silent_ms));
          alert.facts = {{"silent_ms", silent_ms}};
        });
  };
  for (const CameraSample& camera : sample->cameras)
    silence({Rule::kCameraSilent, camera.camera.v, {}}, camera.last_seen_ms, options.camera_silent,
            camera.location, "camera");
  for (const LocationSample& location : sample->locations)
    silence({Rule::kLocationSilent, location.location.v, {}}, location.last_seen_ms,
            options.location_silent, location.location, "location");
}

void AlertRules::State::EvaluateShare(Rule rule, int64_t percent, int64_t part, int64_t whole,
                                      bool also, const char* what) {
  if (percent == 0) return;
  const bool enough = whole >= options.events_min && also;
  Finding finding = FindingOf(enough && part * 100 >= whole * percent);
  // Good: below the lower threshold, or too few events to tell.
  finding.good = !finding.bad && (!enough || part * 10'000 < whole * percent * options.end_percent);
  Evaluate({rule, 0, {}}, finding, [&](Alert& alert) {
    alert.subject = "all";
    alert.of_process = true;
    alert.text = fmt::format("{} % of the events in the last {} are {}: {} of {}",
                             Percent(part, whole), InSeconds(ledger->span_ms()), what, part, whole);
    alert.facts = {{"percent", Percent(part, whole)}, {"events", part}, {"received", whole}};
  });
}

void AlertRules::State::EvaluateLedger() {
  if (!sample->ledger) return;
  const Ledger& now = *sample->ledger;
  if (!ledger) ledger.emplace();
  ledger->Add(now_ms,
              {now.received, now.of(Outcome::kDuplicate), now.of(Outcome::kMalformed),
               now.of(Outcome::kFuture), now.of(Outcome::kTooLate)},
              options.window.v, 0);
  const auto [received, duplicate, malformed, future, too_late] = ledger->Grown();
  // A window that has just begun is taken as a whole one, or its first burst would be a storm.
  const bool storm = duplicate * 1'000 >= options.duplicates_per_second * options.window.v;
  EvaluateShare(Rule::kDuplicateStorm, options.duplicate_percent, duplicate, received, storm,
                "copies");
  EvaluateShare(Rule::kDeadLetterRate, options.dead_letter_percent, malformed + future, received,
                true, "dead letters");
  EvaluateShare(Rule::kTooLateRate, options.too_late_percent, too_late, received, true, "too late");
}

// A camera gets a window with its first event that has a wrong time, so that cameras with right
// clocks cost nothing. The window starts with the numbers without those events.
void AlertRules::State::EvaluateClocks() {
  if (options.clock_percent == 0) return;
  for (const CameraSample& camera : sample->cameras) {
    auto found = clocks.find(camera.camera);
    if (found == clocks.end()) {
      if (camera.future + camera.too_late == 0) continue;
      found = clocks.emplace(camera.camera, Clock{}).first;
      found->second.growth.Add(now_ms, {camera.received - camera.future - camera.too_late, 0, 0},
                               options.window.v, 0);
    }
    found->second.evaluation = evaluation;
    Growth<3>& growth = found->second.growth;
    growth.Add(now_ms, {camera.received, camera.future, camera.too_late}, options.window.v,
               options.window.v / kCameraSteps);
    const auto [received, future, too_late] = growth.Grown();
    const auto evaluate = [&, received = received](Rule rule, int64_t wrong, const char* what) {
      const bool enough = received >= options.events_min;
      Finding finding = FindingOf(enough && wrong * 100 >= received * options.clock_percent);
      finding.good = !finding.bad && (!enough || wrong * 10'000 < received * options.clock_percent *
                                                                      options.end_percent);
      Evaluate({rule, camera.camera.v, {}}, finding, [&](Alert& alert) {
        alert.subject = fmt::format("camera {}", camera.camera.v);
        alert.location = camera.location;
        alert.text = fmt::format("the clock of camera {} is {}: {} of its last {} events",
                                 camera.camera.v, what, wrong, received);
        alert.facts = {
            {"percent", Percent(wrong, received)}, {"events", wrong}, {"received", received}};
      });
    };
    evaluate(Rule::kClockAhead, future, "ahead");
    evaluate(Rule::kClockBehind, too_late, "behind");
  }
  std::erase_if(clocks,
                [this](const auto& entry) { return entry.second.evaluation != evaluation; });
}

// A partition's window begins with 0, so that the jumps before the first sample count, too.
void AlertRules::State::EvaluateJumps() {
  if (options.clock_jumps == 0) return;
  for (const PartitionSample& partition : sample->partitions) {
    const auto [known, is_new] = jumps.try_emplace(PartitionOf(partition));
    Growth<1>& growth = known->second;
    if (is_new) growth.Add(now_ms, {0}, options.window.v, 0);
    growth.Add(now_ms, {partition.clock_jumps}, options.window.v, 0);
    const int64_t jumped = growth.Grown()[0];
    Finding finding = FindingOf(jumped >= options.clock_jumps);
    finding.good = jumped == 0;
    finding.start_after = {};
    const CameraId camera = partition.jumped_camera;
    Evaluate({Rule::kClockJump, partition.partition, partition.topic}, finding, [&](Alert& alert) {
      if (jumped == 0) return;  // it ends with the text that it had
      alert.subject = NameOf(partition);
      alert.text = fmt::format(
          "jumps of camera clocks in {} in the last {}: {}; the last was that of camera {}, whose "
          "times went back by more than dedup_horizon: its clock is wrong, or it sends old events "
          "behind new ones",
          NameOf(partition), InSeconds(options.window.v), jumped, camera.v);
      alert.facts = {{"jumps", jumped}, {"camera", camera.v}};
    });
  }
  std::erase_if(jumps, [this](const auto& entry) {
    return std::ranges::none_of(sample->partitions, [&](const PartitionSample& partition) {
      return PartitionOf(partition) == entry.first;
    });
  });
}

// Adds what is new in the sample. A partition lists its newest pairs only, and a task that was
// built again begins with none: a number that went down began at 0.
void AlertRules::State::AddIdConflicts() {
  std::map<Partition, std::map<CameraPair, int64_t>> now;
  for (const PartitionSample& partition : sample->partitions) {
    const std::map<CameraPair, int64_t>& before = id_conflicts_before[PartitionOf(partition)];
    std::map<CameraPair, int64_t>& counts = now[PartitionOf(partition)];
    for (const IdConflictSample& conflict : partition.id_conflicts) {
      const CameraPair pair{conflict.first, conflict.second};
      counts[pair] = conflict.count;
      const auto known = before.find(pair);
      const int64_t old =
          known == before.end() || known->second > conflict.count ? 0 : known->second;
      if (conflict.count == old) continue;
      if (id_conflicts.size() >= kConflictPairsMax && !id_conflicts.contains(pair)) continue;
      const auto [added, is_new] = id_conflicts.try_emplace(pair);
      if (is_new) added->second.growth.Add(now_ms, {0}, options.id_conflict_window.v, 0);
      added->second.count += conflict.count - old;
    }
  }
  id_conflicts_before = std::move(now);
}

// Cameras that number their detections alike all get into conflict, each a little: so the conflicts
// between cameras are added up. A camera that renames an item now and then is a common thing: so
// those within a camera are its own. A pair's alert ends when its last conflict is behind the
// window.
void AlertRules::State::EvaluateIdConflicts() {
  if (options.id_conflicts == 0) return;
  AddIdConflicts();
  int64_t between = 0;
  for (auto it = id_conflicts.begin(); it != id_conflicts.end();) {
    const auto current = it++;
    auto& [pair, conflict] = *current;
    conflict.growth.Add(now_ms, {conflict.count}, options.id_conflict_window.v,
                        options.id_conflict_window.v / kCameraSteps);
    const int64_t grown = conflict.growth.Grown()[0];
    if (grown == 0)
      id_conflicts.erase(current);
    else if (pair.first != pair.second)
      between += grown;
  }
  for (const auto& [pair, conflict] : id_conflicts) {
    const auto [first, second] = pair;
    const int64_t grown = conflict.growth.Grown()[0];
    Finding finding = FindingOf((first == second ? grown : between) >= options.id_conflicts);
    finding.good = false;
    finding.start_after = {};
    Evaluate({Rule::kIdConflict, first.v, fmt::format("{}", second.v)}, finding, [&](Alert& alert) {
      alert.subject = first == second ? fmt::format("camera {}", first.v)
                                      : fmt::format("cameras {} and {}", first.v, second.v);
      alert.text = TextOfIdConflict(first, second, grown, options.id_conflict_window);
      alert.facts = {{"conflicts", grown}, {"first_camera", first.v}, {"second_camera", second.v}};
    });
  }
}

void AlertRules::State::EvaluateLag() {
  if (options.lag_min == 0 || sample->partitions.empty()) return;
  int64_t lag = 0;
  for (const PartitionSample& partition : sample->partitions)
    lag += std::max<int64_t>(0, partition.end.v - partition.position.v);
  lags.emplace_back(now_ms, lag);
  // As in Growth, one entry at or before the window's start stays, as the one to subtract.
  while (lags.size() > 1 && lags[1].first <= now_ms - options.window.v) lags.pop_front();
  const int64_t grown = lag - lags.front().second;
  Finding finding = FindingOf(lag >= options.lag_min && grown > 0);
  finding.good = !finding.bad && (grown <= 0 || lag * 100 < options.lag_min * options.end_percent);
  Evaluate({Rule::kLagGrowing, 0, {}}, finding, [&](Alert& alert) {
    alert.subject = "all";
    alert.of_process = true;
    alert.text = fmt::format("{} records wait to be counted, {} more than {} ago", lag, grown,
                             InSeconds(now_ms - lags.front().first));
    alert.facts = {{"lag", lag}, {"grown", grown}};
  });
}

void AlertRules::State::EvaluateWatermarks() {
  if (options.watermark_stalled.v == 0) return;
  for (const PartitionSample& partition : sample->partitions) {
    if (!partition.running || !partition.watermark) continue;
    StalledWatermark& stalled = watermarks[PartitionOf(partition)];
    // A task that was rebuilt may start from an earlier position: begin anew.
    if (stalled.watermark != partition.watermark || partition.position < stalled.seen_at)
      stalled = {partition.watermark, partition.position, partition.position};
    if (partition.position > stalled.seen_at) {
      // Time without records is a pause, not a stall.
      const int64_t since = stalled.last_ms == 0 ? 0 : now_ms - stalled.last_ms;
      if (since < options.window.v) stalled.stalled_ms += since;
      stalled.last_ms = now_ms;
      stalled.seen_at = partition.position;
    }
    const int64_t read = stalled.seen_at.v - stalled.moved_at.v;
    const int64_t stalled_ms = stalled.stalled_ms;
    Finding finding =
        FindingOf(stalled_ms >= options.watermark_stalled.v && read >= options.events_min);
    finding.start_after = finding.end_after = {};
    Evaluate({Rule::kWatermarkStalled, partition.partition, partition.topic}, finding,
             [&](Alert& alert) {
               alert.subject = NameOf(partition);
               alert.text =
                   fmt::format("the watermark of {} has not moved for {}, though {} records came",
                               NameOf(partition), InSeconds(stalled_ms), read);
               alert.facts = {{"stalled_ms", stalled_ms},
                              {"records", read},
                              {"watermark_ms", partition.watermark->v}};
             });
  }
  std::erase_if(watermarks, [this](const auto& entry) {
    return std::ranges::none_of(sample->partitions, [&](const PartitionSample& partition) {
      return PartitionOf(partition) == entry.first;
    });
  });
}

void AlertRules::State::EvaluateSinks() {
  struct Worst {
    int64_t stalled_ms = 0, behind = 0, partitions = 0;
  };
  std::map<std::string, Worst> by_name;
  for (const PartitionSample& partition : sample->partitions) {
    for (const SinkSample& sink : partition.sinks) {
      Worst& worst = by_name[sink.name];
      LastChange& last_change = sinks[{sink.name, PartitionOf(partition)}];
      if (!partition.running) continue;
      // A sink stalls only while it is behind: one that has everything has nothing to commit.
      const int64_t waiting = partition.position.v - std::max<int64_t>(0, sink.committed.v);
      const bool behind = waiting > 0;
      if (last_change.at_ms == 0 || !behind || last_change.number != sink.committed.v)
        last_change = {sink.committed.v, now_ms, partition.position.v};
      const int64_t stalled_ms = now_ms - last_change.at_ms;
      if (stalled_ms < options.sink_stalled.v + 2 * sink.interval.v) continue;
      ++worst.partitions;
      worst.behind += waiting;
      worst.stalled_ms = std::max(worst.stalled_ms, stalled_ms);
    }
  }
  const bool on = options.sink_stalled.v > 0;
  for (const auto& [name, worst] : by_name) {
    Finding finding = FindingOf(on && worst.partitions > 0);
    finding.start_after = finding.end_after = {};
    Evaluate({Rule::kSinkFailing, 0, name}, finding, [&, name = name, worst = worst](Alert& alert) {
      alert.subject = name;
      alert.of_process = true;
      alert.text = fmt::format("\"{}\" has taken nothing for {}: {} records wait for it", name,
                               InSeconds(worst.stalled_ms), worst.behind);
      alert.facts = {{"stalled_ms", worst.stalled_ms},
                     {"records", worst.behind},
                     {"partitions", worst.partitions}};
    });
  }
  std::erase_if(sinks, [this](const auto& entry) {
    return std::ranges::none_of(sample->partitions, [&](const PartitionSample& partition) {
      return PartitionOf(partition) == entry.first.second;
    });
  });
  if (!on) return;
  for (const TroubleSample& trouble : sample->troubles)
    // The alert lasts while the sample has the trouble. The id 1 keeps it apart from the sink of
    // the same name.
    Evaluate({Rule::kSinkFailing, 1, trouble.subject}, FindingOf(!trouble.reason.empty()),
             [&](Alert& alert) {
               alert.subject = trouble.subject;
               alert.of_process = true;
               if (!trouble.reason.empty()) alert.text = trouble.reason;
             });
}

void AlertRules::State::EvaluateStates() {
  for (const LimitSample& limit : sample->limits) {
    if (options.state_percent == 0 || limit.limit <= 0) continue;
    const int64_t percent = Percent(limit.used, limit.limit);
    Finding finding = FindingOf(percent >= options.state_percent);
    finding.good = percent < options.state_percent - kLimitPointsBack;
    Evaluate({Rule::kStateNearLimit, 0, limit.name}, finding, [&](Alert& alert) {
      alert.subject = limit.name;
      alert.of_process = true;
      alert.text = fmt::format("{} is at {} % of its limit", limit.name, percent);
      alert.facts = {{"percent", percent}, {"used", limit.used}, {"limit", limit.limit}};
    });
  }
  Finding unguarded = FindingOf(!sample->clock_unguarded.empty());
  unguarded.start_after = unguarded.end_after = {};
  Evaluate({Rule::kClockUnguarded, 0, {}}, unguarded, [&](Alert& alert) {
    alert.subject = "all";
    alert.of_process = true;
    if (!sample->clock_unguarded.empty()) alert.text = sample->clock_unguarded;
  });
  EvaluateClock("all", sample->server_clock);
  EvaluateClock("brokers", sample->broker_clock);
  for (const PartitionSample& partition : sample->partitions) {
    Finding finding = FindingOf(partition.degraded || !partition.running);
    // A partition that does not run gets the usual time, as every start takes a moment.
    if (partition.degraded) finding.start_after = {};
    Evaluate({Rule::kDegraded, partition.partition, partition.topic}, finding, [&](Alert& alert) {
      alert.subject = NameOf(partition);
      alert.text =
          partition.running
              ? fmt::format(
                    "{} does not remember some earlier detections: copies of them may "
                    "be counted again",
                    NameOf(partition))
              : fmt::format("{} does not count: {}", NameOf(partition),
                            partition.reason.empty() ? "it is starting" : partition.reason);
    });
  }
}

void AlertRules::State::EvaluateClock(std::string_view subject, const ClockSample& clock) {
  Finding finding = FindingOf(!clock.reason.empty());
  finding.start_after = finding.end_after = {};
  Evaluate({Rule::kServerClock, 0, std::string(subject)}, finding, [&](Alert& alert) {
    alert.subject = subject;
    alert.of_process = true;
    if (clock.reason.empty()) return;  // it ends: what it was stays
    alert.text = clock.reason;
    alert.facts = {{"wall_ahead_ms", clock.wall_ahead_ms}};
  });
}

// The alert lasts while the sample has the split.
void AlertRules::State::EvaluateSplits() {
  for (const SplitSample& split : sample->splits) {
    Finding finding = FindingOf(true);
    finding.start_after = {};
    Evaluate({Rule::kCameraSplit, split.camera.v, {}}, finding, [&](Alert& alert) {
      alert.subject = fmt::format("camera {}", split.camera.v);
      alert.location = split.location;
      alert.text = fmt::format(
          "camera {} sends into partitions {} and {}: copies of its detections may be counted "
          "twice",
          split.camera.v, split.first, split.second);
      alert.facts = {{"first_partition", split.first}, {"second_partition", split.second}};
    });
  }
}

void AlertRules::State::EvaluateLosses() {
  for (const PartitionSample& partition : sample->partitions) {
    const int64_t lost = partition.lost_next.v - partition.lost_first.v;
    Finding finding = FindingOf(lost > 0);
    finding.start_after = {};
    Evaluate(
        {Rule::kRecordsLost, partition.partition, partition.topic}, finding, [&](Alert& alert) {
          if (lost == 0) return;  // it ends with the text that it had
          alert.subject = NameOf(partition);
          alert.text = fmt::format(
              "{} offsets of {} are lost: retention had removed [{}, {}) before they were counted; "
              "{}",
              lost, NameOf(partition), partition.lost_first.v, partition.lost_next.v,
              partition.running ? "the ledger counts them as lost"
                                : "it waits for a decision (engine.on_gap)");
          alert.facts = {{"lost", lost},
                         {"first_offset", partition.lost_first.v},
                         {"next_offset", partition.lost_next.v}};
        });
  }
}

// -- public interface -----------------------------------------------------------------------------

AlertRules::AlertRules(AlertOptions options) : state_(std::make_unique<State>(options)) {}
AlertRules::~AlertRules() = default;
AlertRules::AlertRules(AlertRules&&) noexcept = default;
AlertRules& AlertRules::operator=(AlertRules&&) noexcept = default;

std::vector<AlertChange> AlertRules::Evaluate(const MonitorSample& sample) {
  State& s = *state_;
  std::vector<AlertChange> changes;
  s.sample = &sample;
  s.changes = &changes;
  s.now_ms = std::max(s.now_ms, sample.now_ms);
  ++s.evaluation;
  s.EvaluateSilence();
  s.EvaluateLedger();
  s.EvaluateClocks();
  s.EvaluateJumps();
  s.EvaluateIdConflicts();
  s.EvaluateLag();
  s.EvaluateWatermarks();
  s.EvaluateSinks();
  s.EvaluateStates();
  s.EvaluateLosses();
  s.EvaluateSplits();
  s.EndMissing();
  s.Summarise();
  s.sample = nullptr;
  s.changes = nullptr;
  return changes;
}

std::vector<Alert> AlertRules::Active() const {
  std::vector<Alert> active;
  for (const auto& [key, subject] : state_->subjects)
    if (subject.active && subject.reported) active.push_back(subject.alert);
  for (const State::Flood& flood : state_->floods)
    if (flood.summary) active.push_back(*flood.summary);
  std::ranges::stable_sort(active, {}, &Alert::rule);
  return active;
}

}  // namespace sightline
