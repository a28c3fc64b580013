#include "doctor/clocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "doctor/wording.h"
#include "pipeline/spec.h"

namespace sightline {
namespace {

constexpr size_t kNeighbours = 8;  // on each side, of the same camera
constexpr size_t kAround = 15;     // rows on each side, of any camera
constexpr size_t kOthersMin = 6;   // fewer rows of other cameras do not say what time it is
constexpr size_t kSteadyMin = 20;  // fewer rows do not say what a camera's offset is
constexpr Millis kMonth{40 * 86'400'000LL};  // nothing is remembered for longer
constexpr size_t kJumpExamples = 3;
constexpr Millis kNearHour{120'000};
constexpr Millis kQuarter{15 * 60'000};
constexpr Millis kZoneMax{14 * 3'600'000LL}, kNearZone{5 * 60'000};

using Rows = std::vector<Sample::Row>;

int64_t QuantileOf(std::vector<int64_t>& values, double part) {
  const auto at = values.begin() + static_cast<ptrdiff_t>(part * (values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

// How far a camera's clock is ahead (negative: behind), if it is that steadily.
struct ClockOffset {
  int64_t low = 0, middle = 0, high = 0;  // the 10th, 50th and 90th percentile
  bool IsSteady() const { return high - low < std::max(std::abs(middle) / 4, kMinute.v); }
};

ClockOffset OffsetOf(std::vector<int64_t> offsets) {
  return {.low = QuantileOf(offsets, 0.1),
          .middle = QuantileOf(offsets, 0.5),
          .high = QuantileOf(offsets, 0.9)};
}

bool IsWholeHours(int64_t offset) {
  const int64_t hours = std::llround(static_cast<double>(offset) / kHour.v);
  return hours != 0 && std::abs(offset - hours * kHour.v) <= kNearHour.v;
}

// Whether most of the neighbours lie more than `beyond` before (or behind) `time`.
bool AreMostly(bool before, const Rows& rows, const std::vector<uint32_t>& of, size_t first,
               size_t end, EventTime time, Millis beyond) {
  size_t far = 0;
  for (size_t i = first; i < end; ++i) {
    const EventTime other = rows[of[i]].time;
    far += before ? other < time - beyond : other > time + beyond;
  }
  return 2 * far > end - first || first == end;
}

class Clocks {
 public:
  Clocks(const Sample& sample, const SourceFacts& facts)
      : sample_(sample), facts_(facts), of_camera_(sample.cameras().size()) {
    const Rows& rows = sample.rows();
    result_.is_wrong.assign(rows.size(), false);
    for (size_t i = 0; i < rows.size(); ++i) {
      of_camera_[rows[i].camera].push_back(static_cast<uint32_t>(i));
      has_append_time_ |= rows[i].append_time != kNoAppendTime;
    }
  }

  ClockFindings Look() && {
    SkipOtherUnits();
    ReportZone();
    if (has_append_time_) {
      LookBesideAppendTime();
    } else {
      CompareWithOthers();
      FindSteadyOffsets();
      FindJumps();
      ReportNoAppendTime();
    }
    ReportAge();
    return std::move(result_);
  }

 private:
  std::string NameOf(size_t camera) const {
    return fmt::format("camera {}", sample_.cameras()[camera].id.v);
  }
  std::string RowText(const Sample::Row& row) const {
    return fmt::format("{}: camera {}, time {}", PlaceText(row.partition, row.place),
                       sample_.cameras()[row.camera].id.v, row.time.v);
  }
  void Mark(size_t row) { result_.is_wrong[row] = true; }

  // Cameras that write times in another unit have a finding of their own.
  void SkipOtherUnits() {
    for (size_t c = 0; c < of_camera_.size(); ++c) {
      const auto& units = sample_.cameras()[c].units;
      if (units.empty() || units.contains(sample_.rules().timestamp_unit)) continue;
      for (const uint32_t row : of_camera_[c]) Mark(row);
      of_camera_[c].clear();
    }
  }

  // The times were read as UTC. If they lie a number of quarters of an hour beside the append
  // times, that is the zone.
  bool FindZone() {
    std::vector<int64_t> offsets;
    for (const Sample::Row& row : sample_.rows())
      if (row.append_time != kNoAppendTime) offsets.push_back(row.time.v - row.append_time.v);
    if (offsets.empty()) return false;
    const int64_t offset = QuantileOf(offsets, 0.5);
    const int64_t zone = std::llround(static_cast<double>(offset) / kQuarter.v) * kQuarter.v;
    if (std::abs(zone) > kZoneMax.v || std::abs(offset - zone) > kNearZone.v) return false;
    zone_ms_ = zone;
    return true;
  }

  void ReportZone() {
    if (sample_.totals().zoneless == 0) return;
    Finding finding{
        .severity = Severity::kTrouble,
        .subject = "timestamp_zone",
        .seen = fmt::format("{} of the first times are text without a time zone",
                            sample_.totals().zoneless),
        .follows =
            "They are malformed, unless the pipeline says which zone they are of. Nothing "
            "in them tells: set it to the IANA name of the cameras' zone.",
        .settings = {{.key = "pipeline.timestamp_zone",
                      .value = "Region/City",
                      .why = "The times have no zone. Write the name of the cameras' zone, such as "
                             "Europe/Berlin, and remove the #.",
                      .is_suggestion = true}}};
    if (FindZone()) {
      const int64_t minutes = std::abs(zone_ms_) / kMinute.v;
      finding.seen += fmt::format(". Beside the append times, they are of UTC{}{:02}:{:02}",
                                  zone_ms_ < 0 ? '-' : '+', minutes / 60, minutes % 60);
      finding.follows +=
          " A zone that changes its clocks has that offset only in a part of the "
          "year.";
      // The names of these zones have the opposite sign.
      if (minutes % 60 == 0)
        finding.settings[0].value =
            minutes == 0 ? "UTC"
                         : fmt::format("Etc/GMT{}{}", zone_ms_ < 0 ? '+' : '-', minutes / 60);
    }
    Add(std::move(finding));
  }

  void LookBesideAppendTime() {
    std::vector<std::string> ahead, behind, jumping;
    int64_t most = 0, jumps = 0;
    bool whole_hours = false;
    std::vector<std::string> examples;
    for (size_t c = 0; c < of_camera_.size(); ++c) {
      if (of_camera_[c].empty()) continue;
      std::vector<int64_t> offsets;
      for (const uint32_t row : of_camera_[c]) offsets.push_back(OffsetOfRow(sample_.rows()[row]));
      const ClockOffset offset = OffsetOf(std::move(offsets));
      const bool is_ahead = offset.IsSteady() && offset.middle > tolerance_.v;
      if (is_ahead) {
        ahead.push_back(Says(c, offset.middle));
        most = std::max(most, offset.high);
        whole_hours |= IsWholeHours(offset.middle);
      } else if (offset.IsSteady() && offset.middle < -kHour.v / 2 && IsWholeHours(offset.middle)) {
        behind.push_back(Says(c, offset.middle));
      }
      int64_t of_camera = 0;
      for (const uint32_t row : of_camera_[c]) {
        const int64_t by = OffsetOfRow(sample_.rows()[row]);
        const bool fits = is_ahead || by <= tolerance_.v;
        const bool is_alone = by < -max_age_.v && offset.middle >= -max_age_.v;
        if (fits && !is_alone) continue;
        Mark(row);
        ++of_camera;
        if (examples.size() < kJumpExamples) examples.push_back(RowText(sample_.rows()[row]));
      }
      jumps += of_camera;
      if (of_camera > 0) jumping.push_back(NameOf(c));
    }
    ReportAhead(ahead, most, whole_hours);
    ReportBehind(behind);
    if (jumps > 0)
      Add({.severity = Severity::kTrouble,
           .subject = "camera_clock",
           .seen =
               fmt::format("the clocks of {} cameras jump: {} detections lie more than {} ahead of "
                           "their append time, or {} behind it: {}",
                           jumping.size(), jumps, AboutText(tolerance_), AboutText(max_age_),
                           ListText(jumping)),
           .follows = "They get the outcome `future` or `too_late`, and cost no others. Set these "
                      "cameras' clocks. `sightline redrive` sends those of the future once their "
                      "time has come.",
           .examples = std::move(examples)});
  }

  int64_t OffsetOfRow(const Sample::Row& row) const {
    return row.append_time == kNoAppendTime ? 0 : row.time.v - row.append_time.v - zone_ms_;
  }
  std::string Says(size_t camera, int64_t offset) const {
    return fmt::format("{} by {}", NameOf(camera), AboutText(Millis{offset}));
  }

  void ReportAhead(const std::vector<std::string>& ahead, int64_t most, bool whole_hours) {
    if (ahead.empty()) return;
    const Millis tolerance = RoundedUp(Millis{most + most / 2});
    Finding finding{
        .severity = Severity::kTrouble,
        .subject = "camera_clock",
        .seen = fmt::format("the clocks of {} cameras are ahead of the append time: {}",
                            ahead.size(), ListText(ahead)),
        .follows = whole_hours
                       ? "They would get the outcome `future`. Whole hours mean that local time is "
                         "sent as UTC: correct the cameras."
                       : "They would get the outcome `future`. Set the clocks of these cameras. "
                         "Until then, a wider tolerance counts them, in later windows than they "
                         "belong to."};
    finding.settings = {{.key = "pipeline.future_tolerance",
                         .value = DurationText(tolerance),
                         .why = fmt::format("The clock of {} is ahead.", ListText(ahead, 3)),
                         .is_suggestion = whole_hours || tolerance > kHour}};
    Add(std::move(finding));
  }

  void ReportBehind(const std::vector<std::string>& behind) {
    if (behind.empty()) return;
    Add({.severity = Severity::kTrouble,
         .subject = "camera_clock",
         .seen = fmt::format("the clocks of {} cameras are whole hours behind the append time: {}",
                             behind.size(), ListText(behind)),
         .follows = "They are counted in windows that they do not belong to. Whole hours mean that "
                    "local time is sent as UTC: correct the cameras."});
  }

  // How far each row is ahead of the other cameras' rows around it. Most of a camera's rows must
  // have others around them: otherwise the file has one camera, or one behind the other.
  void CompareWithOthers() {
    const Rows& rows = sample_.rows();
    beside_.resize(rows.size());
    std::vector<size_t> compared(of_camera_.size());
    std::vector<int64_t> others;
    for (size_t i = 0; i < rows.size(); ++i) {
      others.clear();
      for (size_t j = i - std::min(i, kAround); j < std::min(rows.size(), i + kAround + 1); ++j)
        if (rows[j].camera != rows[i].camera) others.push_back(rows[j].time.v);
      if (others.size() < kOthersMin) continue;
      ++compared[rows[i].camera];
      beside_[i] = {.is_known = true,
                    .ahead = rows[i].time.v - QuantileOf(others, 0.5),
                    .scatter = QuantileOf(others, 0.75) - QuantileOf(others, 0.25)};
    }
    for (size_t i = 0; i < rows.size(); ++i)
      beside_[i].is_known &= 2 * compared[rows[i].camera] > of_camera_[rows[i].camera].size();
  }

  // A camera that differs from the others all the time.
  void FindSteadyOffsets() {
    std::vector<std::string> wrong;
    bool whole_hours = false;
    is_steady_.resize(of_camera_.size());
    for (size_t c = 0; c < of_camera_.size(); ++c) {
      std::vector<int64_t> offsets;
      for (const uint32_t row : of_camera_[c])
        if (beside_[row].is_known) offsets.push_back(beside_[row].ahead);
      if (offsets.size() < kSteadyMin) continue;
      const ClockOffset offset = OffsetOf(std::move(offsets));
      if (!offset.IsSteady() || std::abs(offset.middle) <= 2 * tolerance_.v) continue;
      is_steady_[c] = true;
      whole_hours |= IsWholeHours(offset.middle);
      wrong.push_back(
          fmt::format("{} {}", Says(c, offset.middle), offset.middle > 0 ? "ahead" : "behind"));
    }
    if (wrong.empty()) return;
    Add({.severity = Severity::kTrouble,
         .subject = "camera_clock",
         .seen = fmt::format("the clocks of {} cameras differ from those around them: {}",
                             wrong.size(), ListText(wrong)),
         .follows = fmt::format(
             "They are counted in windows that they do not belong to.{} No setting repairs that: "
             "correct the cameras, and the times of what they have sent.",
             whole_hours ? " Whole hours mean that local time is sent as UTC." : "")});
  }

  // Whether a row does not fit to those around it: of its camera, if it is alone, or of others.
  bool IsJump(const std::vector<uint32_t>& of, size_t i) const {
    const Rows& rows = sample_.rows();
    const EventTime time = rows[of[i]].time;
    const Beside& beside = beside_[of[i]];
    if (facts_.now_ms > 0 && time.v > facts_.now_ms + tolerance_.v) return true;
    if (beside.is_known && beside.ahead > std::max(kHour.v, 4 * beside.scatter)) return true;
    if (beside.is_known && -beside.ahead > std::max(kMonth.v, 4 * beside.scatter)) return true;
    const auto all_around = [&](bool before, Millis beyond) {
      return of.size() > 1 &&
             AreMostly(before, rows, of, i - std::min(i, kNeighbours), i, time, beyond) &&
             AreMostly(before, rows, of, i + 1, std::min(of.size(), i + 1 + kNeighbours), time,
                       beyond);
    };
    // Behind the others by less than a day, it may be late.
    return (i + 1 < of.size() && all_around(true, kHour)) || all_around(false, kDay);
  }

  void FindJumps() {
    int64_t jumps = 0;
    std::vector<std::string> cameras, examples;
    for (size_t c = 0; c < of_camera_.size(); ++c) {
      const std::vector<uint32_t>& of = of_camera_[c];
      int64_t of_camera = 0;
      for (size_t i = 0; i < of.size(); ++i) {
        if (is_steady_[c] || !IsJump(of, i)) continue;
        Mark(of[i]);
        ++of_camera;
        if (examples.size() < kJumpExamples) examples.push_back(RowText(sample_.rows()[of[i]]));
      }
      jumps += of_camera;
      if (of_camera > 0) cameras.push_back(NameOf(c));
    }
    if (jumps == 0) return;
    Add({.severity = Severity::kTrouble,
         .subject = "camera_clock",
         .seen = fmt::format("the clocks of {} cameras jump: {} detections have times that do not "
                             "fit to those around them, or are in the future: {}",
                             cameras.size(), jumps, ListText(cameras)),
         .follows = "One such time would make all later detections of its camera too late, unless "
                    "watermarks move in bounded steps. A clock that stays wrong costs its camera's "
                    "detections all the same: set it. Where the log has append times, those ahead "
                    "get the outcome `future`.",
         .examples = std::move(examples),
         .settings = {{.key = "pipeline.watermark_step",
                       .value = "bounded",
                       .why = fmt::format("The clock of {} jumps; a wrong time must cost no other "
                                          "detections.",
                                          ListText(cameras, 3))}}});
  }

  void ReportNoAppendTime() {
    if (facts_.kind != SourceFacts::Kind::kTopic) return;
    Finding finding{.subject = "append_time",
                    .seen = "the topic has no append times (message.timestamp.type is CreateTime)",
                    .follows =
                        "Clocks are not guarded: nothing gets the outcome `future`. "
                        "`sightline topics check` says how to change that."};
    const bool is_set = std::ranges::any_of(result_.findings, [](const Finding& f) {
      return std::ranges::any_of(
          f.settings, [](const Setting& s) { return s.key == "pipeline.watermark_step"; });
    });
    if (!is_set)
      finding.settings = {{.key = "pipeline.watermark_step",
                           .value = "bounded",
                           .why = "Without append times, one wrong time must cost no others."}};
    Add(std::move(finding));
  }

  // Whether detections are older than max_age when they arrive.
  void ReportAge() {
    int64_t old = 0;
    Millis oldest{0};
    const Rows& rows = sample_.rows();
    for (size_t i = 0; i < rows.size(); ++i) {
      const int64_t arrives =
          rows[i].append_time != kNoAppendTime ? rows[i].append_time.v : facts_.now_ms;
      if (result_.is_wrong[i] || arrives == 0 || (!has_append_time_ && !IsFile())) continue;
      const Millis age{arrives - rows[i].time.v};
      old += age > max_age_;
      oldest = std::max(oldest, age);
    }
    if (old == 0) return;
    Add({.severity = IsFile() ? Severity::kNote : Severity::kTrouble,
         .subject = "max_age",
         .seen = fmt::format("{} detections are older than {}, the oldest {:.1f} days{}", old,
                             AboutText(max_age_), static_cast<double>(oldest.v) / kDay.v,
                             IsFile() ? " now" : " when they came"),
         .follows = IsFile() ? "`sightline replay` counts them. Posted to a server, they would be "
                               "too late, unless there is no maximum age."
                             : "They would be too late, unless there is no maximum age.",
         .settings = {{.key = "pipeline.max_age",
                       .value = "off",
                       .why = "There are detections that are older than the default of 7d."}}});
  }

  bool IsFile() const { return facts_.kind == SourceFacts::Kind::kFile; }
  void Add(Finding finding) { result_.findings.push_back(std::move(finding)); }

  struct Beside {
    bool is_known = false;
    int64_t ahead = 0;    // of the median of the others, ms
    int64_t scatter = 0;  // between their quartiles, ms
  };

  const Millis tolerance_ = PipelineSpec{}.future_tolerance;
  const Millis max_age_ = *PipelineSpec{}.max_age;
  const Sample& sample_;
  const SourceFacts& facts_;
  std::vector<std::vector<uint32_t>> of_camera_;
  std::vector<Beside> beside_;   // of each row; without append times
  std::vector<bool> is_steady_;  // of each camera: its clock is wrong all the time
  bool has_append_time_ = false;
  int64_t zone_ms_ = 0;
  ClockFindings result_;
};

}  // namespace

ClockFindings LookAtClocks(const Sample& sample, const SourceFacts& facts) {
  return Clocks(sample, facts).Look();
}

}  // namespace sightline
