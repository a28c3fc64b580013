#include "topic.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

namespace sightline::sim {
namespace {

// ---- elements as bytes -------------------------------------------------------------------------

std::string Rfc3339(Prng& prng, int64_t ms) {
  using namespace std::chrono;
  const int64_t zone_min = prng.OneIn(2) ? 0 : 30 * (prng.Below(49) - 24);
  const sys_time<milliseconds> local(milliseconds(ms + zone_min * 60'000));
  const auto day = floor<days>(local);
  const year_month_day date(day);
  const hh_mm_ss time(local - day);
  std::string text =
      fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}", int(date.year()),
                  unsigned(date.month()), unsigned(date.day()), time.hours().count(),
                  time.minutes().count(), time.seconds().count(), time.subseconds().count());
  if (zone_min == 0) return text + "Z";
  return text + fmt::format("{}{:02}:{:02}", zone_min < 0 ? '-' : '+', std::abs(zone_min) / 60,
                            std::abs(zone_min) % 60);
}

std::string Integer(Prng& prng, int64_t value) {
  return prng.OneIn(5) ? fmt::format("\"{}\"", value) : fmt::format("{}", value);
}

std::string Time(Prng& prng, TimeUnit unit, int64_t ms) {
  if (prng.OneIn(6)) return '"' + Rfc3339(prng, ms) + '"';
  switch (unit) {
    case TimeUnit::kSeconds:
      return ms % 1000 == 0 ? Integer(prng, ms / 1000) : '"' + Rfc3339(prng, ms) + '"';
    case TimeUnit::kMillis:
      return Integer(prng, ms);
    case TimeUnit::kMicros:
      return Integer(prng, ms * 1'000 + prng.Below(1'000));
    case TimeUnit::kNanos:
      return Integer(prng, ms * 1'000'000 + prng.Below(1'000'000));
  }
  return {};
}

std::string Item(Prng& prng, const std::string& item) {
  if (prng.OneIn(12)) return fmt::format("\"\\u{:04x}{}\"", unsigned(item[0]), item.substr(1));
  return '"' + item + '"';
}

std::string Object(Prng& prng, std::vector<std::string> fields, bool pretty) {
  for (size_t i = fields.size(); i-- > 1;)
    std::swap(fields[i], fields[static_cast<size_t>(prng.Below(static_cast<int64_t>(i) + 1))]);
  const char* const between = pretty ? ",\n  " : prng.OneIn(4) ? ", " : ",";
  return fmt::format("{}{}{}", pretty ? "{\n  " : "{", fmt::join(fields, between),
                     pretty ? "\n}" : "}");
}

std::vector<std::string> Fields(Prng& prng, const PipelineSpec& spec, const Element& e) {
  std::vector<std::string> fields = {"\"video_camera_oid\":" + Integer(prng, e.camera),
                                     "\"geographical_location_oid\": " + Integer(prng, e.location)};
  if (e.kind == Event::Kind::kHeartbeat) {
    fields.push_back("\"heartbeat\":" + Time(prng, spec.decode.timestamp_unit, e.time));
  } else {
    fields.push_back("\"detection_oid\":" + Integer(prng, e.id));
    fields.push_back("\"item_name\":" + Item(prng, e.item));
    fields.push_back("\"timestamp_detected\":" + Time(prng, spec.decode.timestamp_unit, e.time));
  }
  return fields;
}

void AddExtras(Prng& prng, std::vector<std::string>& fields) {
  if (prng.OneIn(8)) fields.push_back(R"("extra":{"a":[1,{"b":"]},{["}],"c":"\"\\"})");
  if (prng.OneIn(8)) fields.push_back(R"("timestamp":1700000000000)");
  if (prng.OneIn(16)) fields.push_back(R"("timestamp":"soon")");
}

void WriteValid(Prng& prng, const PipelineSpec& spec, bool pretty, Element& e) {
  std::vector<std::string> fields = Fields(prng, spec, e);
  AddExtras(prng, fields);
  e.bytes = Object(prng, std::move(fields), pretty);
}

// Writes an element that breaks exactly one rule, so that there is one right reason. It is
// balanced, so that it may stand in an array.
void WriteMalformed(Prng& prng, const PipelineSpec& spec, Element& e) {
  using enum MalformedReason;
  std::vector<std::string> fields = Fields(prng, spec, e);
  auto wrong = [&](MalformedReason reason, size_t field, std::string text) {
    e.reason = reason;
    fields[field] = std::move(text);
  };
  switch (prng.Below(12)) {
    case 0:
      e.reason = kMissingField;
      fields.erase(fields.begin() + prng.Below(5));
      break;
    case 1:
      wrong(kWrongType, 0, R"("video_camera_oid":1.5)");
      break;
    case 2:
      wrong(kWrongType, 1, R"("geographical_location_oid":"here")");
      break;
    case 3:
      wrong(kOutOfRange, 0, R"("video_camera_oid":99999999999999999999)");
      break;
    case 4:
      wrong(kWrongType, 3, R"("item_name":null)");
      break;
    case 5:
      wrong(kItemName, 3, R"("item_name":"")");
      break;
    case 6:
      wrong(kItemName, 3, fmt::format(R"("item_name":"{}")", std::string(257, 'x')));
      break;
    case 7:
      wrong(kWrongType, 4, R"("timestamp_detected":"yesterday")");
      break;
    case 8:
      wrong(kOutOfRange, 4, R"("timestamp_detected":"0000-01-01T00:00:00Z")");
      break;
    case 9:
      e.reason = kDuplicateField;
      fields.push_back(fields[static_cast<size_t>(prng.Below(5))]);
      break;
    case 10:
      e.reason = kNotAnObject;
      e.bytes = prng.OneIn(2) ? "7" : "\"text, with ] in it\"";
      return;
    default:
      e.reason = kNotJson;
      e.bytes = prng.OneIn(2) ? "{bad}" : R"({"video_camera_oid" 1})";
      return;
  }
  e.bytes = Object(prng, std::move(fields), false);
}

// ---- messages of them --------------------------------------------------------------------------

std::string Array(Prng& prng, const std::vector<Element>& elements, size_t from, size_t to,
                  const char* between) {
  std::string text = prng.OneIn(3) ? "[ " : "[";
  for (size_t i = from; i < to; ++i) text += (i == from ? "" : between) + elements[i].bytes;
  return text + "]";
}

// Cuts off the end of the last element and of the message.
void CutOff(Prng& prng, Message& message) {
  Note(Reach::message_cut_off);
  Element& last = message.elements.back();
  last.kind = Event::Kind::kMalformed;
  last.reason = MalformedReason::kNotJson;
  last.bytes.resize(
      static_cast<size_t>(1 + prng.Below(static_cast<int64_t>(last.bytes.size()) - 1)));
  while (last.bytes.back() == ' ') last.bytes.pop_back();
  message.payload = Array(prng, message.elements, 0, message.elements.size(), ",");
  message.payload.pop_back();  // the ]
}

void WritePayload(Prng& prng, Message& message) {
  std::vector<Element>& elements = message.elements;
  const size_t n = elements.size();
  if (elements.back().bytes.starts_with("{\"") && prng.OneIn(60)) return CutOff(prng, message);
  switch (n == 1 ? prng.Below(3) : 1 + prng.Below(4)) {
    case 0:
      message.payload = elements[0].bytes;
      break;
    case 1:
      message.payload = Array(prng, elements, 0, n, prng.OneIn(3) ? " , " : ",");
      break;
    case 2:
      Note(Reach::message_of_lines);
      for (const Element& e : elements)
        message.payload += e.bytes + (prng.OneIn(6) ? "\r\n\n" : "\n");
      break;
    case 3:
      Note(Reach::message_of_arrays);
      message.payload = Array(prng, elements, 0, n, ",\n ") + (prng.OneIn(2) ? "\n" : "");
      break;
    default: {
      Note(Reach::message_of_arrays);
      const auto half = static_cast<size_t>(1 + prng.Below(static_cast<int64_t>(n) - 1));
      message.payload =
          Array(prng, elements, 0, half, ",") + "\n" + Array(prng, elements, half, n, ",") + "\n";
    }
  }
}

// Writes a message without a readable element.
void WriteGarbage(Prng& prng, Message& message) {
  Note(Reach::message_empty);
  static const char* const kGarbage[] = {"", " \n ", "oops", "\x01\xff\xfe",
                                         "{\"video_camera_oid\":"};
  message.payload = kGarbage[prng.Below(5)];
  std::string bytes = message.payload == " \n " ? "" : message.payload;
  message.elements = {{.kind = Event::Kind::kMalformed,
                       .reason = MalformedReason::kNotJson,
                       .bytes = std::move(bytes)}};
}

// ---- cameras -----------------------------------------------------------------------------------

struct Camera {
  int64_t id = 0;
  int64_t clock = 0, back_at = INT64_MIN;
  bool spooling = false;  // it sends, in order, what it kept while it was offline
};

class Generator {
 public:
  Generator(Prng& prng, const PipelineSpec& spec) : prng_(prng), spec_(spec) {
    // An hour of append time ends inside the topic. The epoch is the start of such an hour.
    const int64_t hour = 3'600'000;
    const int64_t bases[] = {0, hour, 472'222 * hour, -1'000'000 * hour};
    base_ = spec.count_from != kBeforeAllTime || spec.count_until != kAfterAllTime
                ? 0
                : bases[prng.Below(4)];
    now_ = base_ - 300;
    has_append_time_ = !prng.OneIn(8);
    Note(Reach::no_append_time, !has_append_time_);
    unsteady_ = has_append_time_ && prng_.OneIn(6);
    for (int64_t c = 0, n = 2 + prng.Below(6); c < n; ++c) {
      cameras_.push_back({.id = c, .clock = base_});
      if (prng.OneIn(3)) cameras_.push_back({.id = c + 16, .clock = base_});
    }
  }

  std::vector<Message> Run() {
    std::vector<Message> topic;
    for (int64_t i = 0, n = 40 + prng_.Below(200); i < n; ++i) {
      now_ += prng_.Below(24);
      Camera& camera = cameras_[static_cast<size_t>(prng_.Below(std::ssize(cameras_)))];
      if (camera.back_at > now_) continue;
      if (prng_.OneIn(20)) {  // goes offline
        camera.back_at = now_ + 50 + prng_.Below(prng_.OneIn(3) ? 2'500 : 600);
        camera.spooling = prng_.OneIn(2);
        continue;
      }
      camera.clock = camera.spooling ? std::min(now_, camera.clock + 1 + prng_.Below(90)) : now_;
      if (camera.clock == now_) camera.spooling = false;
      Note(Reach::spooled, camera.spooling);
      topic.push_back(NextMessage(camera));
    }
    return topic;
  }

 private:
  Message NextMessage(const Camera& camera) {
    Message message{.camera = camera.id,
                    .append_time = has_append_time_ ? now_ + LogStep() : kNoAppendTime.v};
    if (prng_.OneIn(80)) {
      WriteGarbage(prng_, message);
      return message;
    }
    if (prng_.OneIn(120)) {
      message.payload = " [ ] ";
      return message;
    }
    const int64_t n = 1 + prng_.Below(3) / 2 + prng_.Below(4) / 3 + (prng_.OneIn(30) ? 12 : 0);
    for (int64_t i = 0; i < n; ++i) {
      Element e = NextElement(camera);
      if (e.kind == Event::Kind::kMalformed) {
        WriteMalformed(prng_, spec_, e);
      } else {
        WriteValid(prng_, spec_, n == 1 && prng_.OneIn(10), e);
      }
      message.elements.push_back(std::move(e));
    }
    WritePayload(prng_, message);
    return message;
  }

  // How far the log's clock is from the cameras' now. In some worlds somebody sets it, by up to
  // twice the time after which a silent camera is forgotten.
  int64_t LogStep() {
    if (!unsteady_) return 0;
    if (prng_.OneIn(30)) log_step_ = prng_.Below(4 * spec_.camera_ttl.v) - 2 * spec_.camera_ttl.v;
    if (prng_.OneIn(8)) log_step_ = 0;
    return log_step_;
  }

  Element NextElement(const Camera& camera) {
    Element e{.camera = camera.id, .location = camera.id % 3, .id = next_id_++};
    e.item = std::string(1, static_cast<char>('a' + prng_.Below(3)));
    e.time = camera.clock + 20 - prng_.Below(prng_.OneIn(12) ? 3 * spec_.dedup_horizon.v : 40);
    std::vector<Element>& others = sent_[camera.id % 16];
    const int64_t kind = prng_.Below(40);
    const int64_t far = now_ + 31 + prng_.Below(600);
    if (kind == 0) e.kind = Event::Kind::kMalformed;
    if (kind == 1 || kind == 2) {
      e.kind = Event::Kind::kHeartbeat;
      e.time = prng_.OneIn(4) && has_append_time_ ? far : camera.clock;
    }
    if (kind == 3 && has_append_time_) e.time = far;
    if (!has_append_time_ && spec_.watermark_step == WatermarkStep::kBounded) Jump(camera, e);
    if (kind >= 28 && !others.empty()) return Copy(camera, others, kind);
    if (e.kind == Event::Kind::kDetection) others.push_back(e);
    return e;
  }

  // Now and then the camera's clock jumps, for one detection or for a few.
  void Jump(const Camera& camera, Element& e) {
    int64_t& jump = jumps_[camera.id];
    if (prng_.OneIn(3)) jump = 0;
    if (prng_.OneIn(12)) jump = prng_.OneIn(3) ? kTooFar : prng_.Below(3 * spec_.dedup_horizon.v);
    if (prng_.OneIn(60)) jump = -spec_.dedup_horizon.v - prng_.Below(600);
    e.time += jump;
  }

  // Copies something that was sent recently, or long ago.
  Element Copy(const Camera& camera, const std::vector<Element>& others, int64_t kind) {
    const int64_t all = std::ssize(others);
    const int64_t last = prng_.OneIn(4) ? all : std::min(all, int64_t{6});
    Element e = others[static_cast<size_t>(all - 1 - prng_.Below(last))];
    if (kind >= 34 && kind < 37) {
      e.time += prng_.Below(2 * spec_.dedup_horizon.v) - spec_.dedup_horizon.v;
      Note(Reach::restamped_copy);
    }
    if (kind == 37) e.item = "conflict";
    if (kind == 38) e.location = 3;
    if (kind == 39) e.camera = camera.id;
    return e;
  }

  Prng& prng_;
  const PipelineSpec& spec_;
  std::vector<Camera> cameras_;
  std::map<int64_t, std::vector<Element>> sent_;  // by partition, of 16
  int64_t base_ = 0, now_ = 0, next_id_ = 0;
  bool has_append_time_ = true;
  bool unsteady_ = false;
  int64_t log_step_ = 0;
  // A jump after which times do not fit 32 bits.
  static constexpr int64_t kTooFar = 2'000'000'000'000;
  std::map<int64_t, int64_t> jumps_;  // by camera: how far its clock is wrong
};

}  // namespace

PipelineSpec RandomSpec(Prng& prng) {
  PipelineSpec spec;
  spec.decode.timestamp_unit =
      prng.OneIn(2) ? TimeUnit::kMillis : static_cast<TimeUnit>(prng.Below(4));
  spec.identity = prng.OneIn(6) ? Identity::kCameraAndDetection : Identity::kDetection;
  Note(Reach::identity_with_camera, spec.identity == Identity::kCameraAndDetection);
  spec.pane_size = {20 + prng.Below(60)};
  spec.window_size = {spec.pane_size.v * (1 + prng.Below(5))};
  spec.out_of_orderness = {10 + prng.Below(40)};
  spec.dedup_horizon = {80 + prng.Below(400)};
  spec.future_tolerance = {30};
  spec.max_age = prng.OneIn(3) ? std::nullopt : std::optional(Millis{600 + prng.Below(900)});
  spec.camera_ttl = {spec.max_age.value_or(Millis{600}).v + 30 + prng.Below(200)};
  if (prng.OneIn(3)) spec.count_from = {prng.Below(800)};
  if (prng.OneIn(3)) spec.count_until = {800 + prng.Below(800)};
  // From generators of their own, so that the seeds stay what they were.
  if (Prng{prng.state ^ 0x1b873593}.OneIn(2)) {
    spec.decode.detection_ids = kOldestRules.detection_ids;
    spec.decode.version = kOldestRules.version;
  }
  if (Prng{prng.state ^ 0x5bd1e995}.OneIn(2)) spec.watermark_step = WatermarkStep::kBounded;
  return spec;
}

std::vector<Message> RandomTopic(Prng& prng, const PipelineSpec& spec) {
  return Generator(prng, spec).Run();
}

}  // namespace sightline::sim
