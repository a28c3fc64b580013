#include "camera/playback.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <chrono>
#include <cmath>
#include <thread>
#include <unordered_map>
#include <utility>

#include "camera/detection_id.h"
#include "camera/line_reader.h"

namespace sightline {
namespace {

namespace json = boost::json;

constexpr int64_t kStopCheckMs = 20;
// When sent time and wall clock are further apart than this, a new pass starts at the wall clock:
// the machine slept, its clock was set, or the server was slower than the recording.
constexpr int64_t kClockDriftMs = 2'000;
// A time further than this from the recording's present is a wrong clock, unless so many lines in a
// row say the same; then it is a pause, which is skipped.
constexpr int64_t kJumpMs = 600'000;
constexpr int32_t kJumpsUntilBelieved = 20;
constexpr Millis kSeamWithoutTimes{1'000};
// Of one generation of known ids. Copies up to this many detections apart keep one id.
constexpr size_t kIdsKept = 1 << 20;
constexpr std::string_view kTimeFields[] = {"timestamp_detected", "heartbeat", "timestamp"};

class SteadyPacer final : public Pacer {
 public:
  int64_t SteadyMs() const override {
    using std::chrono::milliseconds;
    return std::chrono::duration_cast<milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  void WaitUntil(int64_t steady_ms, const std::atomic<bool>& stop) override {
    for (int64_t left = steady_ms - SteadyMs(); left > 0 && !stop; left = steady_ms - SteadyMs())
      std::this_thread::sleep_for(std::chrono::milliseconds(std::min(left, kStopCheckMs)));
  }
};

std::optional<int64_t> Decimal(std::string_view text) {
  int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

// "2025-11-22T09:07:00[.digits](Z|+hh:mm|-hh:mm)". Source: RFC 3339, section 5.6.
std::optional<EventTime> ParseRfc3339(std::string_view text) {
  if (text.size() < 20 || text[4] != '-' || text[7] != '-' || text[13] != ':' || text[16] != ':')
    return std::nullopt;
  auto digits = [&](size_t from, size_t count) {
    return Decimal(text.substr(from, count)).value_or(-1);
  };
  const std::chrono::year_month_day day(std::chrono::year(static_cast<int>(digits(0, 4))),
                                        std::chrono::month(static_cast<unsigned>(digits(5, 2))),
                                        std::chrono::day(static_cast<unsigned>(digits(8, 2))));
  const int64_t hour = digits(11, 2), minute = digits(14, 2), second = digits(17, 2);
  if (!day.ok() || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
    return std::nullopt;
  const int64_t days = std::chrono::sys_days(day).time_since_epoch().count();
  int64_t ms = ((days * 24 + hour) * 60 + minute) * 60'000 + second * 1'000;
  size_t next = 19;
  if (text[next] == '.') {
    int64_t digit_ms = 100;
    for (++next; next < text.size() && text[next] >= '0' && text[next] <= '9'; ++next) {
      ms += (text[next] - '0') * digit_ms;
      digit_ms /= 10;
    }
  }
  const std::string_view zone = text.substr(next);
  if (zone == "Z" || zone == "z") return EventTime{ms};
  if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':') return std::nullopt;
  const int64_t zone_hour = digits(next + 1, 2), zone_minute = digits(next + 4, 2);
  if (zone_hour < 0 || zone_minute < 0) return std::nullopt;
  const int64_t offset_ms = (zone_hour * 60 + zone_minute) * 60'000;
  return EventTime{zone[0] == '+' ? ms - offset_ms : ms + offset_ms};
}

std::string FormatRfc3339(EventTime time) {
  const EventTime second = {WindowStart(time, {1'000}).v / 1'000};
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(static_cast<time_t>(second.v)),
                     time.v - second.v * 1'000);
}

}  // namespace

std::unique_ptr<Pacer> CreateSteadyPacer() { return std::make_unique<SteadyPacer>(); }

Status PlaybackOptions::Validate() const {
  if (!std::isfinite(speed) || speed < 0)
    return Status::Stop(
        fmt::format("replay: speed {} is not 0 (as fast as possible) or more", speed));
  if (loop && !shift_to_now)
    return Status::Stop(
        "replay: loop without shift_to_now would only send copies: give both, or neither");
  if (loop && path == "-")
    return Status::Stop("replay: standard input cannot be read twice: give a file to loop over");
  if (units_per_second != 1 && units_per_second != 1'000 && units_per_second != 1'000'000 &&
      units_per_second != 1'000'000'000)
    return Status::Stop(
        fmt::format("replay: {} units a second are none of s, ms, us and ns (1 to 1000000000)",
                    units_per_second));
  return Status::Ok();
}

EventTime TimeShift::operator()(EventTime recorded) const {
  if (speed <= 0) return target;
  const Millis passed = recorded - origin;
  if (speed == 1) return target + passed;
  return target + Millis{std::llround(static_cast<double>(passed.v) / speed)};
}

struct LineRewriter::State {
  int64_t units_per_second = 1'000;
  std::string_view line;
  json::value value;  // null when the line is no JSON
  std::string text;

  int64_t pass_ms = 0;
  int64_t ids_given = 0;
  std::unordered_map<int64_t, int64_t> ids, older_ids;  // recorded -> sent

  std::optional<EventTime> ToTime(const json::value& field) const;
  void Shift(json::value& field, const TimeShift& shift) const;
  void RewriteElement(json::value& element, const TimeShift& shift);
  int64_t NewId(int64_t recorded);

  std::optional<EventTime> FromUnits(int64_t units) const {
    if (units_per_second > 1'000)
      return EventTime{WindowStart({units}, {units_per_second / 1'000}).v /
                       (units_per_second / 1'000)};
    const int64_t factor = 1'000 / units_per_second;
    if (units > kLastEventTime.v / factor || units < kFirstEventTime.v / factor)
      return std::nullopt;
    return EventTime{units * factor};
  }
  // Saturates: nanoseconds end in 2262.
  int64_t ToUnits(EventTime time) const {
    if (units_per_second <= 1'000) {
      const Millis unit{1'000 / units_per_second};
      return WindowStart(time, unit).v / unit.v;
    }
    const int64_t factor = units_per_second / 1'000;
    return std::clamp(time.v, INT64_MIN / factor, INT64_MAX / factor) * factor;
  }
};

std::optional<EventTime> LineRewriter::State::ToTime(const json::value& field) const {
  if (field.is_int64()) return FromUnits(field.get_int64());
  if (!field.is_string()) return std::nullopt;
  const std::string_view text(field.get_string().data(), field.get_string().size());
  if (const auto units = Decimal(text)) return FromUnits(*units);
  return ParseRfc3339(text);
}

void LineRewriter::State::Shift(json::value& field, const TimeShift& shift) const {
  const auto recorded = ToTime(field);
  if (!recorded) return;
  const EventTime sent = shift(*recorded);
  if (field.is_int64()) {
    field = ToUnits(sent);
  } else if (Decimal({field.get_string().data(), field.get_string().size()})) {
    field = std::to_string(ToUnits(sent));
  } else {
    field = FormatRfc3339(sent);
  }
}

int64_t LineRewriter::State::NewId(int64_t recorded) {
  if (const auto known = ids.find(recorded); known != ids.end()) return known->second;
  if (ids.size() >= kIdsKept) older_ids = std::exchange(ids, {});
  const auto older = older_ids.find(recorded);
  const int64_t id = older != older_ids.end() ? older->second : PlayedId(pass_ms, ids_given++).v;
  ids.emplace(recorded, id);
  return id;
}

void LineRewriter::State::RewriteElement(json::value& element, const TimeShift& shift) {
  json::object* const object = element.if_object();
  if (object == nullptr) return;
  for (const std::string_view name : kTimeFields)
    if (json::value* field = object->if_contains({name.data(), name.size()})) Shift(*field, shift);
  json::value* const id = object->if_contains("detection_oid");
  if (id == nullptr) return;
  if (id->is_int64()) {
    *id = NewId(id->get_int64());
  } else if (id->is_string()) {
    if (const auto number = Decimal({id->get_string().data(), id->get_string().size()}))
      *id = std::to_string(NewId(*number));
  }
}

LineRewriter::LineRewriter(int64_t units_per_second) : state_(std::make_unique<State>()) {
  state_->units_per_second = units_per_second;
}

LineRewriter::~LineRewriter() = default;

void LineRewriter::Parse(std::string_view line) {
  state_->line = line;
  boost::system::error_code error;
  state_->value = json::parse({line.data(), line.size()}, error);
  if (error) state_->value = nullptr;
}

std::optional<EventTime> LineRewriter::Time() const {
  std::optional<EventTime> greatest;
  auto look = [&](const json::value& element) {
    const json::object* const object = element.if_object();
    if (object == nullptr) return;
    for (const char* name : {"timestamp_detected", "heartbeat"}) {
      const json::value* const field = object->if_contains(name);
      const auto time = field ? state_->ToTime(*field) : std::nullopt;
      if (time && (!greatest || *time > *greatest)) greatest = time;
    }
  };
  if (const json::array* const elements = state_->value.if_array()) {
    for (const json::value& element : *elements) look(element);
  } else {
    look(state_->value);
  }
  return greatest;
}

std::string_view LineRewriter::Rewrite(const TimeShift& shift) {
  if (state_->value.is_null()) return state_->line;
  if (json::array* const elements = state_->value.if_array()) {
    for (json::value& element : *elements) state_->RewriteElement(element, shift);
  } else {
    state_->RewriteElement(state_->value, shift);
  }
  state_->text = json::serialize(state_->value);
  return state_->text;
}

int64_t LineRewriter::StartPass(int64_t wall_ms) {
  state_->pass_ms = std::max(wall_ms, state_->pass_ms + PlayedIdMillis(state_->ids_given));
  state_->ids_given = 0;
  state_->ids.clear();
  state_->older_ids.clear();
  return state_->pass_ms;
}

namespace {

// One pass after the other over the recording, on one line of sent time.
class PlaybackRun {
 public:
  PlaybackRun(const PlaybackOptions& options, const Clock& clock, Pacer& pacer,
              const std::atomic<bool>& stop, const std::function<bool(std::string_view)>& offer)
      : options_(options),
        clock_(clock),
        pacer_(pacer),
        stop_(stop),
        offer_(offer),
        rewriter_(options.units_per_second) {}

  Status Run() {
    Anchor();
    do {
      RETURN_IF_ERROR(Pass());
      if (lines_ == 0 && !stop_ && options_.loop)
        return Status::Stop(fmt::format("replay: '{}' has no lines to loop over", options_.path));
      NextPass();
    } while (options_.loop && !stop_ && !refused_);
    return Status::Ok();
  }

 private:
  // Ties sent time to the wall clock and the steady clock.
  void Anchor() {
    target_ = {clock_.NowMs()};
    steady_ms_ = pacer_.SteadyMs();
  }

  Status Pass() {
    rewriter_.StartPass(clock_.NowMs());
    auto reader = LineReader::Open(options_.path);
    if (!reader.ok()) return reader.status();
    started_ = false;
    lines_ = steps_ = 0;
    jumps_ = 0;
    // Nothing of a line matters when it is sent at once and unchanged.
    const bool parse = options_.shift_to_now || options_.speed > 0;
    while (!stop_) {
      const auto line = reader.value()->Next(stop_);
      if (!line.ok()) return line.status();
      if (!line.value()) break;
      ++lines_;
      if (parse) {
        rewriter_.Parse(*line.value());
        WaitFor(rewriter_.Time());
        if (stop_) break;
      }
      refused_ = !offer_(options_.shift_to_now ? rewriter_.Rewrite(shift_) : *line.value());
      if (refused_) break;
    }
    return Status::Ok();
  }

  // Lines go out when the greatest event time so far is due; older and malformed ones with it.
  void WaitFor(std::optional<EventTime> time) {
    if (options_.speed <= 0) shift_.target = {clock_.NowMs()};
    if (!time) return;
    if (!started_) {
      started_ = true;
      last_ = *time;
      shift_ = {last_, target_, options_.speed};
    } else if (IsPlausible(*time) && *time > last_) {
      ++steps_;
      last_ = *time;
    }
    if (options_.speed > 0) pacer_.WaitUntil(steady_ms_ + (shift_(last_) - target_).v, stop_);
  }

  // One camera's wrong clock must neither halt the recording nor let it run away; but when all
  // lines agree on another time, it is the recording's time from now on.
  bool IsPlausible(EventTime time) {
    if (std::abs((time - last_).v) <= kJumpMs) {
      jumps_ = 0;
      return true;
    }
    if (++jumps_ < kJumpsUntilBelieved) return false;
    jumps_ = 0;
    shift_ = {time, shift_(last_), options_.speed};
    last_ = time;
    return true;
  }

  // The next pass follows as the next frame would: one average step of time later.
  void NextPass() {
    Millis length = kSeamWithoutTimes;
    if (steps_ > 0) {
      const Millis span = shift_(last_) - target_;
      length = span + Millis{std::max<int64_t>(1, span.v / steps_)};
    }
    target_ = target_ + length;
    steady_ms_ += length.v;
    const int64_t late_ms = pacer_.SteadyMs() - steady_ms_;
    const EventTime due{clock_.NowMs() - late_ms};
    if (std::abs((due - target_).v) > kClockDriftMs || late_ms > kClockDriftMs) Anchor();
  }

  const PlaybackOptions& options_;
  const Clock& clock_;
  Pacer& pacer_;
  const std::atomic<bool>& stop_;
  const std::function<bool(std::string_view)>& offer_;
  LineRewriter rewriter_;
  EventTime target_;       // sent time of the pass's first event ...
  int64_t steady_ms_ = 0;  // ... and when it is due
  bool refused_ = false;

  // Of the pass.
  bool started_ = false;  // a line with a time has been read
  EventTime last_;        // the recording's present: the greatest time that is believed
  int64_t lines_ = 0;
  int64_t steps_ = 0;  // how often the recording's present went on
  int32_t jumps_ = 0;  // lines in a row that are far from it
  TimeShift shift_;
};

}  // namespace

Status PlayBack(const PlaybackOptions& options, const Clock& clock, Pacer& pacer,
                const std::atomic<bool>& stop, const std::function<bool(std::string_view)>& offer) {
  RETURN_IF_ERROR(options.Validate());
  return PlaybackRun(options, clock, pacer, stop, offer).Run();
}

}  // namespace sightline
