#include "script.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <stdexcept>
#include <string_view>

namespace sightline::golden {
namespace {

constexpr int64_t kDayMs = 86'400'000;
constexpr int64_t kFirstDayMs = 20'414 * kDayMs;  // 2025-11-22

struct Mistake : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

int64_t Number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw Mistake(fmt::format("'{}' is not a number", text));
  return value;
}

// Splits a line into words; "words in quotes" are one.
std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  for (text = Trim(text); !text.empty(); text = Trim(text)) {
    const bool quoted = text.front() == '"';
    if (quoted) text.remove_prefix(1);
    const size_t end = std::min(quoted ? text.find('"') : text.find_first_of(" \t"), text.size());
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + (quoted ? 1 : 0), text.size()));
  }
  return words;
}

// Parses a length: "10s", "500ms", "2min", "1h", "7d".
Millis Length(std::string_view text) {
  const size_t digits = text.find_first_not_of("0123456789");
  const std::string_view unit = digits == std::string_view::npos ? "" : text.substr(digits);
  const int64_t value = Number(text.substr(0, digits));
  if (unit == "ms") return {value};
  if (unit == "s") return {value * 1'000};
  if (unit == "min") return {value * 60'000};
  if (unit == "h") return {value * 3'600'000};
  if (unit == "d") return {value * kDayMs};
  throw Mistake(fmt::format("'{}' is not a duration: write 500ms, 10s, 2min, 1h or 7d", text));
}

// Parses a time: "12:00", "12:00:01", "12:00:01.250", "day9/12:00", "day-1/23:59", "@-1500" (ms
// since 1970).
int64_t Time(std::string_view text) {
  if (text.starts_with('@')) return Number(text.substr(1));
  int64_t day = 0;
  if (text.starts_with("day")) {
    const size_t slash = std::min(text.find('/'), text.size());
    day = Number(text.substr(3, slash - 3));
    text.remove_prefix(std::min(slash + 1, text.size()));
  }
  int64_t ms = 0;
  if (const size_t dot = text.find('.'); dot != std::string_view::npos) {
    if (text.size() - dot != 4) throw Mistake("a fraction of a second has three digits");
    ms = Number(text.substr(dot + 1));
    text = text.substr(0, dot);
  }
  if ((text.size() != 5 && text.size() != 8) || text[2] != ':')
    throw Mistake(
        fmt::format("'{}' is not a time: write 12:00, 12:00:01, day9/12:00 or @1500", text));
  const int64_t seconds = text.size() == 8 ? Number(text.substr(6)) : 0;
  return kFirstDayMs + day * kDayMs +
         ((Number(text.substr(0, 2)) * 60 + Number(text.substr(3, 2))) * 60 + seconds) * 1'000 + ms;
}

void Set(const std::vector<std::string>& words, Script& script) {
  if (words.size() != 3) throw Mistake("say: set NAME VALUE");
  const std::string &name = words[1], &value = words[2];
  PipelineSpec& spec = script.spec;
  const std::map<std::string, Millis*> lengths = {
      {"window_size", &spec.window_size},           {"pane_size", &spec.pane_size},
      {"out_of_orderness", &spec.out_of_orderness}, {"dedup_horizon", &spec.dedup_horizon},
      {"future_tolerance", &spec.future_tolerance}, {"camera_ttl", &spec.camera_ttl}};
  const std::map<std::string, TimeUnit> units = {{"s", TimeUnit::kSeconds},
                                                 {"ms", TimeUnit::kMillis},
                                                 {"us", TimeUnit::kMicros},
                                                 {"ns", TimeUnit::kNanos}};
  if (const auto length = lengths.find(name); length != lengths.end()) {
    *length->second = Length(value);
  } else if (name == "max_age") {
    spec.max_age = value == "off" ? std::nullopt : std::optional<Millis>(Length(value));
  } else if (name == "count_from") {
    spec.count_from = {Time(value)};
  } else if (name == "count_until") {
    spec.count_until = {Time(value)};
  } else if (name == "timestamp_unit" && units.contains(value)) {
    spec.decode.timestamp_unit = units.at(value);
  } else if (name == "detection_ids" && (value == "integer" || value == "any")) {
    spec.decode.detection_ids = value == "any" ? DetectionIds::kAny : DetectionIds::kInteger;
  } else if (name == "decoding" && (value == "1" || value == "2")) {
    spec.decode.version = value == "1" ? Decoding::kFirst : Decoding::kSecond;
  } else if (name == "timestamp_zone") {
    spec.decode.timestamp_zone = value;
  } else if (name == "item_names" && (value == "as_sent" || value == "nfc")) {
    spec.decode.item_names = value == "nfc" ? ItemNames::kNfc : ItemNames::kAsSent;
  } else if (name == "identity" && (value == "camera" || value == "detection")) {
    spec.identity = value == "camera" ? Identity::kCameraAndDetection : Identity::kDetection;
  } else if (name == "watermark_step" && (value == "free" || value == "bounded")) {
    spec.watermark_step = value == "free" ? WatermarkStep::kFree : WatermarkStep::kBounded;
  } else if (name == "partitions") {
    script.partitions = static_cast<int32_t>(Number(value));
  } else {
    throw Mistake(fmt::format("there is no setting '{} {}'", name, value));
  }
}

// Turns "camera 1 location 7 id 100 item car time 12:00:01" or "heartbeat camera 1 location 7 time
// 12:00" into JSON. A script that is about bytes writes the JSON itself, with <FF> for a byte.
std::string Payload(std::string_view text) {
  if (!text.starts_with("camera ") && !text.starts_with("heartbeat ")) {
    std::string bytes;
    for (size_t i = 0; i < text.size(); ++i) {
      unsigned value = 0;
      const bool is_byte =
          text[i] == '<' && i + 3 < text.size() && text[i + 3] == '>' &&
          std::from_chars(&text[i + 1], &text[i + 3], value, 16).ptr == &text[i + 3];
      bytes += is_byte ? static_cast<char>(value) : text[i];
      if (is_byte) i += 3;
    }
    return bytes;
  }
  std::vector<std::string> words = Words(text);
  const bool is_heartbeat = words[0] == "heartbeat";
  if (is_heartbeat) words.erase(words.begin());
  std::map<std::string, std::string> fields;
  for (size_t i = 0; i + 1 < words.size(); i += 2) fields[words[i]] = words[i + 1];
  std::string json = fmt::format("{{\"geographical_location_oid\":{},\"video_camera_oid\":{},",
                                 fields["location"], fields["camera"]);
  if (is_heartbeat) return json + fmt::format("\"heartbeat\":{}}}", Time(fields["time"]));
  return json + fmt::format("\"detection_oid\":{},\"item_name\":\"{}\",\"timestamp_detected\":{}}}",
                            fields["id"], fields["item"], Time(fields["time"]));
}

// Parses "TIME | MESSAGE -> OUTCOME, ...". A line without a time continues the message before it.
void AddMessage(std::string_view line, size_t bar, int number, Script& script) {
  const std::string_view time = Trim(line.substr(0, bar));
  std::string_view text = line.substr(bar + 1);
  if (text.starts_with(' ')) text.remove_prefix(1);
  std::vector<std::string> outcomes;
  if (const size_t arrow = text.rfind(" -> "); arrow != std::string_view::npos) {
    for (std::string_view rest = text.substr(arrow + 4); !rest.empty();) {
      const size_t comma = std::min(rest.find(','), rest.size());
      outcomes.emplace_back(Trim(rest.substr(0, comma)));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
    text = text.substr(0, text.find_last_not_of(' ', arrow) + 1);
  }
  if (time.empty()) {
    if (script.messages.empty()) throw Mistake("nothing to go on with");
    script.messages.back().payload += "\n" + Payload(text);
  } else {
    script.messages.push_back({.line = number, .payload = Payload(text)});
    if (time != "-") script.messages.back().append_time = {Time(time)};
  }
  std::vector<std::string>& all = script.messages.back().outcomes;
  all.insert(all.end(), outcomes.begin(), outcomes.end());
  std::sort(all.begin(), all.end());
}

void AddCell(std::string_view line, Cells& cells) {
  const std::vector<std::string> words = Words(line);
  if (words.size() != 4) throw Mistake("say: WINDOW LOCATION ITEM COUNT");
  cells[{{Time(words[0])}, {Number(words[1])}, words[2]}] = Number(words[3]);
}

void Read(std::istream& in, Script& script, int& number) {
  Cells* block = nullptr;
  std::string line;
  for (number = 1; std::getline(in, line); ++number) {
    const std::string_view text = Trim(line);
    if (text.empty()) continue;
    if (text.starts_with('#')) {
      if (script.title.empty()) script.title = Trim(text.substr(1));
    } else if (const size_t bar = line.find('|'); bar != std::string::npos) {
      AddMessage(line, bar, number, script);
    } else if (text.starts_with("set ")) {
      Set(Words(text), script);
    } else if (text == "counts") {
      block = &script.counts;
    } else if (text == "corrections") {
      block = &script.corrections.emplace();
    } else if (text.starts_with("ledger ")) {
      const std::vector<std::string> words = Words(text);
      for (size_t i = 1; i + 1 < words.size(); i += 2)
        script.ledger[words[i]] = Number(words[i + 1]);
    } else if (block != nullptr && line.starts_with(' ')) {
      AddCell(text, *block);
    } else {
      throw Mistake(fmt::format("what is '{}'?", text));
    }
  }
}

}  // namespace

Result<Script> ReadScript(const std::string& path) {
  Script script;
  int line = 0;
  try {
    std::ifstream in(path);
    if (!in) throw Mistake("cannot be read");
    Read(in, script, line);
    if (script.ledger.empty()) throw Mistake("no ledger: say what the sums are");
  } catch (const Mistake& mistake) {
    return Status::Stop(fmt::format("{}:{}: {}", path, line, mistake.what()));
  }
  if (const Status valid = script.spec.Validate(); !valid.ok())
    return Status::Stop(fmt::format("{}: {}", path, valid.message()));
  return script;
}

std::string FormatTime(EventTime time) {
  const EventTime day = WindowStart({time.v - kFirstDayMs}, {kDayMs});
  const int64_t ms = time.v - kFirstDayMs - day.v;
  if (day.v / kDayMs < -999 || day.v / kDayMs > 999) return fmt::format("@{}", time.v);
  std::string text = day.v == 0 ? "" : fmt::format("day{}/", day.v / kDayMs);
  text += fmt::format("{:02}:{:02}", ms / 3'600'000, ms / 60'000 % 60);
  if (ms % 60'000 != 0) text += fmt::format(":{:02}", ms / 1'000 % 60);
  if (ms % 1'000 != 0) text += fmt::format(".{:03}", ms % 1'000);
  return text;
}

}  // namespace sightline::golden
