#include "operators/decode.h"

#include <fmt/format.h>
#include <simdjson.h>
#include <utf8proc.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <optional>

#include "operators/json_walk.h"
#include "operators/parse_time.h"
#include "operators/split_message.h"

namespace sightline {
namespace {

static_assert(kDecodePadding >= simdjson::SIMDJSON_PADDING);
namespace ondemand = simdjson::ondemand;

// Larger than any useful element; it bounds the parser's memory.
constexpr size_t kElementBytesMax = 1 << 20;
// Of XXH64 over ids that are text: that of Spark's function xxhash64, so that both engines agree.
constexpr uint64_t kIdSeed = 42;

enum FieldBit : uint8_t {
  kLocation = 1,
  kCamera = 2,
  kDetection = 4,
  kItem = 8,
  kTime = 16,
  kHeartbeat = 32,
  kPublished = 64,
};
struct FieldName {
  std::string_view name;
  FieldBit bit;
};
constexpr FieldName kFields[] = {
    {"geographical_location_oid", kLocation},
    {"video_camera_oid", kCamera},
    {"detection_oid", kDetection},
    {"item_name", kItem},
    {"timestamp_detected", kTime},
    {"heartbeat", kHeartbeat},
    {"timestamp", kPublished},
};

std::optional<FieldName> FindField(std::string_view key) {
  for (const FieldName& field : kFields)
    if (field.name == key) return field;
  return std::nullopt;
}

// `raw` points behind the opening quote of a key whose string simdjson's first stage has found to
// be closed. Most keys are known, and their first characters differ.
std::optional<FieldName> FindRawField(const char* raw) {
  for (const FieldName& field : kFields)
    if (field.name.front() == *raw && std::memcmp(raw, field.name.data(), field.name.size()) == 0 &&
        raw[field.name.size()] == '"')
      return field;
  return std::nullopt;
}
bool HasEscape(const char* raw) {
  while (*raw != '"' && *raw != '\\') ++raw;
  return *raw == '\\';
}

MalformedReason ParseInteger(std::string_view text, int64_t* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
  const bool all = end == text.data() + text.size() && !digits.empty();
  if (!all || (digits.size() > 1 && digits[0] == '0')) return MalformedReason::kWrongType;
  return error == std::errc() ? MalformedReason::kNone : MalformedReason::kOutOfRange;
}

// Whether the token is a number as JSON writes it. simdjson does not check it.
bool IsNumber(std::string_view token) {
  size_t at = token.starts_with('-') ? 1 : 0;
  const auto digits = [&] {
    const size_t begin = at;
    while (at < token.size() && token[at] >= '0' && token[at] <= '9') ++at;
    return at - begin;
  };
  const size_t first = at;
  const size_t whole = digits();
  if (whole == 0 || (whole > 1 && token[first] == '0')) return false;
  if (at < token.size() && token[at] == '.') {
    ++at;
    if (digits() == 0) return false;
  }
  if (at < token.size() && (token[at] == 'e' || token[at] == 'E')) {
    ++at;
    if (at < token.size() && (token[at] == '+' || token[at] == '-')) ++at;
    if (digits() == 0) return false;
  }
  return at == token.size();
}

bool IsAscii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

struct Decoder::Parser {
  explicit Parser(const DecodeRules& given) : rules(given) {
    if (!rules.timestamp_zone.empty()) zone = TimeZone::Find(rules.timestamp_zone);
  }

  const DecodeRules rules;
  std::optional<TimeZone> zone;  // of rules.timestamp_zone
  ondemand::parser parser;
  std::deque<std::string> arena;  // unescaped names; a deque keeps their addresses stable
  int32_t index = 0, line = 0;    // of the element being decoded

  void Malformed(Event& event, MalformedReason reason, std::string_view field = {}) {
    event = {.kind = Event::Kind::kMalformed,
             .reason = reason,
             .field = field,
             .index = event.index,
             .line = event.line,
             .bytes = event.bytes};
  }

  // The unescaped text of a string token; nullopt if it is not a valid string.
  std::optional<std::string_view> Text(ondemand::value& value, std::string_view token) {
    if (token.size() < 2 || token.back() != '"') return std::nullopt;
    const std::string_view inside = token.substr(1, token.size() - 2);
    if (std::memchr(inside.data(), '\\', inside.size()) == nullptr) return inside;
    std::string_view unescaped;
    if (value.get_string().get(unescaped) != simdjson::SUCCESS) return std::nullopt;
    return arena.emplace_back(unescaped);
  }

  MalformedReason Integer(ondemand::value& value, std::string_view token, int64_t* out) {
    if (token.starts_with('"')) {
      const auto text = Text(value, token);
      return text ? ParseInteger(*text, out) : MalformedReason::kNotJson;
    }
    return ParseInteger(token, out);
  }

  // The number of a detection_oid: an integer is itself, other text is its hash.
  MalformedReason Id(ondemand::value& value, std::string_view token, int64_t* out) {
    if (rules.detection_ids == DetectionIds::kInteger) return Integer(value, token, out);
    std::string_view text = token;
    if (token.starts_with('"')) {
      const auto unescaped = Text(value, token);
      if (!unescaped) return MalformedReason::kNotJson;
      text = *unescaped;
    } else if (!IsNumber(token)) {
      return MalformedReason::kWrongType;
    }
    if (ParseInteger(text, out) == MalformedReason::kNone) return MalformedReason::kNone;
    if (text.empty()) return MalformedReason::kWrongType;
    if (text.size() > kIdTextBytesMax) return MalformedReason::kOutOfRange;
    *out = static_cast<int64_t>(XXH64(text.data(), text.size(), kIdSeed));
    return MalformedReason::kNone;
  }

  MalformedReason Time(ondemand::value& value, std::string_view token, EventTime* out) {
    std::string_view text = token;
    if (token.starts_with('"')) {
      const auto unescaped = Text(value, token);
      if (!unescaped) return MalformedReason::kNotJson;
      text = *unescaped;
    }
    int64_t number;
    MalformedReason reason = ParseInteger(text, &number);
    if (reason == MalformedReason::kNone)
      return TimeOfNumber(number, rules.timestamp_unit, out) ? reason
                                                             : MalformedReason::kOutOfRange;
    // Only seconds are sent with a fraction. Elsewhere such a number is likely to be of another
    // unit.
    if (rules.version != Decoding::kFirst && reason == MalformedReason::kWrongType &&
        rules.timestamp_unit == TimeUnit::kSeconds)
      reason = ParseDecimalSeconds(text, out);
    if (reason != MalformedReason::kWrongType || !token.starts_with('"')) return reason;
    return ParseRfc3339(text, rules.version, zone ? &*zone : nullptr, out);
  }

  MalformedReason Item(ondemand::value& value, std::string_view token, std::string_view* out) {
    if (!token.starts_with('"')) return MalformedReason::kWrongType;
    const auto text = Text(value, token);
    if (!text) return MalformedReason::kNotJson;
    *out = rules.item_names == ItemNames::kNfc ? Normalized(*text) : *text;
    if (out->empty() || out->size() > kItemNameBytesMax) return MalformedReason::kItemName;
    return MalformedReason::kNone;
  }

  // The text in normalization form C. simdjson has checked that it is UTF-8.
  std::string_view Normalized(std::string_view text) {
    if (IsAscii(text) || text.size() > kElementBytesMax) return text;
    utf8proc_uint8_t* made = nullptr;
    const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &made,
                                   utf8proc_option_t(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    if (size < 0) return text;
    const std::string_view kept =
        arena.emplace_back(reinterpret_cast<const char*>(made), static_cast<size_t>(size));
    std::free(made);
    return kept;
  }

  // Stores one known field in the event.
  MalformedReason Take(FieldBit bit, ondemand::value& value, std::string_view token, Event& event,
                       EventTime* heartbeat) {
    token = Trim(token);
    switch (bit) {
      case kLocation:
        return Integer(value, token, &event.location.v);
      case kCamera:
        return Integer(value, token, &event.camera.v);
      case kDetection:
        return Id(value, token, &event.id.v);
      case kItem:
        return Item(value, token, &event.item);
      case kTime:
        return Time(value, token, &event.time);
      case kHeartbeat:
        return Time(value, token, heartbeat);
      case kPublished: {
        EventTime published;
        if (Time(value, token, &published) == MalformedReason::kNone) event.published = published;
        return MalformedReason::kNone;  // a broken publish time only affects latency metrics
      }
    }
    return MalformedReason::kNone;
  }

  void Element(std::string_view bytes, std::vector<Event>& out) {
    Event& event = out.emplace_back();
    event.bytes = bytes;
    event.index = index++;
    event.line = line;
    if (bytes.size() > kElementBytesMax) return Malformed(event, MalformedReason::kTooLarge);
    if (bytes.empty()) return Malformed(event, MalformedReason::kNotJson);
    if (bytes.front() != '{') {
      const bool is_value = std::strchr("\"-0123456789tfn[", bytes.front()) != nullptr;
      return Malformed(event, is_value && bytes.front() != '\0' ? MalformedReason::kNotAnObject
                                                                : MalformedReason::kNotJson);
    }
    Object(bytes, event);
  }

  static MalformedReason ReasonOf(simdjson::error_code error) {
    return error == simdjson::DEPTH_ERROR ? MalformedReason::kTooDeep : MalformedReason::kNotJson;
  }

  // Checks that a field's value is one JSON value and ends inside its object. simdjson's on-demand
  // parser skips unknown values without validating them, even past the end of the text. Arrays and
  // objects are therefore walked here.
  static MalformedReason EndsInObject(ondemand::value& value, std::string_view token,
                                      std::string_view bytes) {
    const char first = token.empty() ? ':' : token.front();
    if (first == ':' || first == ',' || first == ']' || first == '}')
      return MalformedReason::kNotJson;
    auto error = simdjson::SUCCESS;
    if (first == '[') {
      ondemand::array array;
      error = value.get_array().get(array);
      if (error == simdjson::SUCCESS) error = array.raw_json().get(token);
    } else if (first == '{') {
      ondemand::object object;
      error = value.get_object().get(object);
      if (error == simdjson::SUCCESS) error = object.raw_json().get(token);
    }
    if (error != simdjson::SUCCESS) return ReasonOf(error);
    const char last = Trim(token).back();
    if ((first == '[' && last != ']') || (first == '{' && last != '}'))
      return MalformedReason::kNotJson;
    // simdjson's raw token and raw value reach up to the next token, which must close the field.
    const char* const behind = token.data() + token.size();
    return behind < bytes.data() + bytes.size() && (*behind == ',' || *behind == '}')
               ? MalformedReason::kNone
               : MalformedReason::kNotJson;
  }

  void Object(std::string_view bytes, Event& event) {
    ondemand::document document;
    ondemand::object object;
    auto error =
        parser.iterate(bytes.data(), bytes.size(), bytes.size() + kDecodePadding).get(document);
    if (error == simdjson::SUCCESS) error = document.get_object().get(object);
    if (error != simdjson::SUCCESS) return Malformed(event, ReasonOf(error));

    uint8_t seen = 0, twice = 0;
    // The first broken rule, in the order of the fields. It is reported only after the whole
    // element has parsed: text that is not JSON at all is `not_json`, whatever its fields say.
    MalformedReason broken = MalformedReason::kNone, broken_heartbeat = MalformedReason::kNone;
    std::string_view broken_field;
    EventTime heartbeat;
    for (auto entry : object) {
      ondemand::field field;
      error = std::move(entry).get(field);
      if (error != simdjson::SUCCESS) return Malformed(event, ReasonOf(error));
      const char* raw = field.key().raw();
      std::optional<FieldName> known = FindRawField(raw);
      if (!known && HasEscape(raw)) {
        std::string_view key;
        if (field.unescaped_key().get(key) != simdjson::SUCCESS)
          return Malformed(event, MalformedReason::kNotJson);
        known = FindField(key);
      }
      const std::string_view token = field.value().raw_json_token();
      const MalformedReason ends = EndsInObject(field.value(), token, bytes);
      if (ends != MalformedReason::kNone) return Malformed(event, ends);
      if (!known) continue;
      if ((seen & known->bit) != 0) twice |= known->bit;
      seen |= known->bit;
      const MalformedReason reason = Take(known->bit, field.value(), token, event, &heartbeat);
      if (reason == MalformedReason::kNone) continue;
      if (reason == MalformedReason::kNotJson) return Malformed(event, reason);
      if (known->bit == kHeartbeat) {
        broken_heartbeat = reason;
      } else if (broken == MalformedReason::kNone) {
        broken = reason;
        broken_field = known->name;
      }
    }
    // There is text behind the object.
    if (document.current_location().error() != simdjson::OUT_OF_BOUNDS)
      return Malformed(event, MalformedReason::kNotJson);
    Judge(event, seen, twice, broken, broken_field, heartbeat, broken_heartbeat);
  }

  // Decides between detection and heartbeat. A heartbeat has the field `heartbeat` and none of the
  // fields that only a detection has.
  void Judge(Event& event, uint8_t seen, uint8_t twice, MalformedReason broken,
             std::string_view broken_field, EventTime heartbeat, MalformedReason broken_heartbeat) {
    const bool is_heartbeat =
        (seen & kHeartbeat) != 0 && (seen & (kDetection | kItem | kTime)) == 0;
    const uint8_t wanted = is_heartbeat ? kLocation | kCamera | kHeartbeat
                                        : kLocation | kCamera | kDetection | kItem | kTime;
    for (const FieldName& field : kFields) {
      if ((wanted & field.bit) == 0) continue;
      if ((twice & field.bit) != 0)
        return Malformed(event, MalformedReason::kDuplicateField, field.name);
    }
    if (broken != MalformedReason::kNone) return Malformed(event, broken, broken_field);
    if (is_heartbeat && broken_heartbeat != MalformedReason::kNone)
      return Malformed(event, broken_heartbeat, "heartbeat");
    for (const FieldName& field : kFields)
      if ((wanted & field.bit & ~seen) != 0)
        return Malformed(event, MalformedReason::kMissingField, field.name);
    if (!is_heartbeat) return;
    event.kind = Event::Kind::kHeartbeat;
    event.time = heartbeat;
  }

  // Decodes the elements of the array that begins at text[0] == '[', and returns the text behind
  // it.
  std::string_view Array(std::string_view text, std::vector<Event>& out) {
    text.remove_prefix(1);
    if (const std::string_view inside = Trim(text); inside.starts_with(']')) {
      return text.substr(text.find(']') + 1);  // a frame without detections
    }
    for (;;) {
      const size_t end = EndOfElement(text);
      const bool cut = end == std::string_view::npos;
      const std::string_view element = Trim(text.substr(0, end));
      if (cut) {  // the array never ends: the rest is one broken element
        Event& event = out.emplace_back();
        event = {.index = index++, .line = line, .bytes = element};
        Malformed(event, MalformedReason::kNotJson);
        return {};
      }
      Element(element, out);
      const bool last = text[end] == ']';
      text.remove_prefix(end + 1);
      if (last) return text;
    }
  }

  // Decodes one line, or a message without line ends: an object, or arrays and what follows them.
  void Line(std::string_view text, std::vector<Event>& out) {
    while (text.starts_with('[')) {
      text = Trim(Array(text, out));
      if (text.empty()) return;
    }
    Element(text, out);
  }

  void Lines(std::string_view text, std::vector<Event>& out) {
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      if (const std::string_view one = Trim(text.substr(0, end)); !one.empty()) Line(one, out);
      text.remove_prefix(std::min(end + 1, text.size()));
      ++line;
    }
  }

  // Decoding::kFirst.
  void FirstMessage(std::string_view text, std::vector<Event>& out) {
    const size_t first_end = text.find('\n');
    if (first_end == std::string_view::npos) return Line(text, out);
    if (text.front() == '[') {  // an array over several lines, perhaps followed by more
      const std::string_view rest = Trim(Array(text, out));
      if (!rest.empty()) Lines(rest, out);
      return;
    }
    // An object over several lines does not end on its first line, as a line of NDJSON does. If the
    // whole text is not one object after all (the first line was cut off), it is decoded line by
    // line.
    if (EndsInside(text.substr(0, first_end))) {
      Element(text, out);
      if (out.back().kind != Event::Kind::kMalformed) return;
      out.pop_back();
      index = 0;
    }
    Lines(text, out);
  }

  void Message(std::string_view text, std::vector<Event>& out) {
    if (const MalformedReason other = OtherFormat(text); other != MalformedReason::kNone) {
      Event& event = out.emplace_back();
      event.bytes = text;
      return Malformed(event, other);
    }
    ElementSplitter splitter(text);
    for (ElementSplitter::Element element; splitter.Next(&element);) {
      line = element.line;
      if (element.broken) {
        Event& event = out.emplace_back();
        event = {.index = index++, .line = line, .bytes = element.bytes};
        Malformed(event, MalformedReason::kNotJson);
        continue;
      }
      Element(element.bytes, out);
      if (!element.guess || !RefutesGuess(out.back().reason)) continue;
      out.pop_back();
      --index;
      splitter.Split();
    }
  }
};

Decoder::Decoder(const DecodeRules& rules) : parser_(std::make_unique<Parser>(rules)) {}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;

void Decoder::Decode(std::string_view message, std::vector<Event>& out) {
  parser_->index = parser_->line = 0;
  if (message.starts_with("\xEF\xBB\xBF")) message.remove_prefix(3);
  const std::string_view text = Trim(message);
  if (text.empty()) return parser_->Element(text, out);
  if (parser_->rules.version == Decoding::kFirst) return parser_->FirstMessage(text, out);
  parser_->Message(text, out);
}

void Decoder::DecodeElement(std::string_view element, std::vector<Event>& out) {
  parser_->index = parser_->line = 0;
  parser_->Element(Trim(element), out);
}

std::string Decoder::AsOneMalformed(std::string_view element) {
  std::vector<Event> events;
  const auto is_that = [&](std::string_view record) {
    const std::string padded = fmt::format("{}{:{}}", record, "", kDecodePadding);
    events.clear();
    Decode(std::string_view(padded).substr(0, record.size()), events);
    return events.size() == 1 && events[0].kind == Event::Kind::kMalformed &&
           events[0].bytes == element;
  };
  // What is malformed within an array is so within another one, and what has no end there, too.
  for (std::string record :
       {std::string(element), fmt::format("[{}]", element), fmt::format("[{}", element)})
    if (is_that(record)) return record;
  std::string record = fmt::format("]{}", element);
  std::replace(record.begin(), record.end(), '\n', ' ');
  return record;
}

void Decoder::Clear() { parser_->arena.clear(); }

bool ParseTime(std::string_view text, TimeUnit unit, EventTime* time) {
  int64_t number;
  const MalformedReason reason = ParseInteger(text, &number);
  if (reason == MalformedReason::kNone) return TimeOfNumber(number, unit, time);
  return ParseRfc3339(text, Decoding::kSecond, nullptr, time) == MalformedReason::kNone;
}

}  // namespace sightline
