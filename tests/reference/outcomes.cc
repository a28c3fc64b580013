// The operator's outcome of each element of a file, which reference.py compares with its own.
//
//   outcomes INPUT COUNTS [NAME=VALUE]...
//
// INPUT has lines of `<append time in ms>\t<message>`; `-` for none. For each element, a
// line goes to stdout: its outcome, "heartbeat", or "duplicate conflict". The counts per window go
// to COUNTS as CSV. Settings are those of PipelineSpec, in ms ("off" for none). restart_every=N
// saves the operator's state after every N messages and continues with a new operator that has
// loaded it.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/check.h"
#include "operators/count_operator.h"
#include "operators/decode.h"
#include "pipeline/spec.h"

namespace sightline {
namespace {

[[noreturn]] void Fail(const std::string& message) {
  fmt::print(stderr, "outcomes: {}\n", message);
  std::exit(2);
}

int64_t Number(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size())
    Fail(fmt::format("'{}' is not a number", text));
  return number;
}

struct Settings {
  PipelineSpec spec;
  int64_t restart_every = 0;
};

void Set(std::string_view name, std::string_view value, Settings* settings) {
  PipelineSpec& spec = settings->spec;
  if (name == "identity") {
    spec.identity = value == "camera" ? Identity::kCameraAndDetection : Identity::kDetection;
    return;
  }
  if (name == "watermark_step") {
    spec.watermark_step = value == "bounded" ? WatermarkStep::kBounded : WatermarkStep::kFree;
    return;
  }
  if (name == "detection_ids") {
    spec.decode.detection_ids = value == "any" ? DetectionIds::kAny : DetectionIds::kInteger;
    return;
  }
  const std::optional<int64_t> number =
      value == "off" ? std::nullopt : std::optional<int64_t>(Number(value));
  if (name == "max_age") {
    spec.max_age = number ? std::optional<Millis>(Millis{*number}) : std::nullopt;
    return;
  }
  if (!number) return;
  if (name == "out_of_orderness") {
    spec.out_of_orderness = {*number};
  } else if (name == "dedup_horizon") {
    spec.dedup_horizon = {*number};
  } else if (name == "future_tolerance") {
    spec.future_tolerance = {*number};
  } else if (name == "camera_ttl") {
    spec.camera_ttl = {*number};
  } else if (name == "window_size") {
    spec.window_size = {*number};
  } else if (name == "count_from") {
    spec.count_from = {*number};
  } else if (name == "count_until") {
    spec.count_until = {*number};
  } else if (name == "restart_every") {
    settings->restart_every = *number;
  } else {
    Fail(fmt::format("there is no setting '{}'", name));
  }
}

// The outcome of the only element in a segment.
std::string OutcomeOf(const Segment& segment) {
  const Ledger ledger = segment.Total();
  CHECK(ledger.Balanced() && ledger.received + ledger.heartbeats == 1);
  if (ledger.heartbeats == 1) return "heartbeat";
  if (ledger.conflicts == 1) return "duplicate conflict";
  for (size_t i = 0; i < kOutcomes; ++i)
    if (ledger.outcomes[i] == 1) return std::string(ToString(static_cast<Outcome>(i)));
  CHECK(false);
  return {};
}

class Driver {
 public:
  explicit Driver(const Settings& settings)
      : settings_(settings),
        decoder_(settings.spec.decode),
        operator_(settings.spec),
        window_size_(settings.spec.window_size) {}

  void OnMessage(AppendTime append_time, std::string_view message) {
    decoder_.Clear();
    events_.clear();
    decoder_.Decode(message, events_);
    operator_.BeginBatch();
    for (const Event& event : events_) {
      operator_.OnEvents({offset_}, append_time, {&event, 1});
      const Segment segment = operator_.TakeSegment({offset_}, {offset_ + 1});
      ++offset_;
      fmt::print("{}\n", OutcomeOf(segment));
      for (const CountRow& row : segment.counts)
        counts_[{row.key.location, row.key.item, WindowStart(row.key.pane_start, window_size_)}] +=
            row.count;
    }
    if (settings_.restart_every > 0 && ++messages_ % settings_.restart_every == 0) Restart();
  }

  void WriteCounts(const std::string& path) const {
    std::ofstream out(path, std::ios::binary);
    out << "geographical_location_oid,item_name,window_start,window_end,item_count\n";
    for (const auto& [key, count] : counts_) {
      const auto& [location, item, start] = key;
      std::string quoted;
      for (char c : item) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
      out << fmt::format("{},\"{}\",{},{},{}\n", location.v, quoted, start.v,
                         (start + window_size_).v, count);
    }
    if (!out.flush()) Fail(fmt::format("cannot write '{}'", path));
  }

 private:
  void Restart() {
    std::string state;
    operator_.Save([&](std::string_view piece) { state += piece; });
    operator_ = CountOperator(settings_.spec);
    if (const Status status = operator_.Load(state); !status.ok()) Fail(status.message());
  }

  Settings settings_;
  Decoder decoder_;
  CountOperator operator_;
  Millis window_size_;
  std::vector<Event> events_;
  int64_t offset_ = 0;
  int64_t messages_ = 0;
  std::map<std::tuple<LocationId, std::string, EventTime>, int64_t> counts_;
};

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  if (!in) Fail(fmt::format("cannot read '{}'", path));
  return bytes.str();
}

int Main(int count, char** arguments) {
  if (count < 3) Fail("usage: outcomes INPUT COUNTS [NAME=VALUE]...");
  Settings settings;
  for (int i = 3; i < count; ++i) {
    const std::string_view setting = arguments[i];
    const size_t equals = setting.find('=');
    if (equals == std::string_view::npos) Fail(fmt::format("'{}' is not NAME=VALUE", setting));
    Set(setting.substr(0, equals), setting.substr(equals + 1), &settings);
  }
  if (const Status status = settings.spec.Validate(); !status.ok()) Fail(status.message());
  std::string text = ReadFile(arguments[1]);
  const size_t size = text.size();
  text.append(kDecodePadding, '\0');
  Driver driver(settings);
  for (size_t at = 0; at < size;) {
    const size_t end = std::min(text.find('\n', at), size);
    const size_t tab = text.find('\t', at);
    if (tab >= end) Fail("a line has no tab");
    const std::string_view line(text);
    const std::string_view time = line.substr(at, tab - at);
    driver.OnMessage(time == "-" ? kNoAppendTime : AppendTime{Number(time)},
                     line.substr(tab + 1, end - tab - 1));
    at = end + 1;
  }
  driver.WriteCounts(arguments[2]);
  return 0;
}

}  // namespace
}  // namespace sightline

int main(int count, char** arguments) { return sightline::Main(count, arguments); }
