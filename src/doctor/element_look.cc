#include "doctor/element_look.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cctype>
#include <charconv>
#include <cmath>

namespace sightline {
namespace {

namespace json = boost::json;

struct FieldWords {
  std::string_view field;
  std::array<std::string_view, 12> words;  // what others call it
};
constexpr std::array<FieldWords, 5> kFieldWords = {{
    {"geographical_location_oid",
     {"geographical", "location", "site", "place", "geo", "area", "zone", "store", "region"}},
    {"video_camera_oid", {"camera", "cam", "video", "device", "sensor", "stream"}},
    {"detection_oid", {"detection", "track", "tracking", "uuid", "id", "oid", "event"}},
    {"item_name", {"item", "name", "label", "class", "category", "type", "object"}},
    {"timestamp_detected", {"timestamp", "detected", "time", "ts", "date", "datetime", "at"}},
}};

// "cameraId" and "camera-id" have the words "camera" and "id".
std::vector<std::string> WordsOf(std::string_view name) {
  std::vector<std::string> words(1);
  bool was_lower = false;
  for (const char raw : name) {
    const auto c = static_cast<unsigned char>(raw);
    if ((std::isalnum(c) == 0 || (std::isupper(c) != 0 && was_lower)) && !words.back().empty())
      words.emplace_back();
    if (std::isalnum(c) != 0) words.back() += static_cast<char>(std::tolower(c));
    was_lower = std::islower(c) != 0;
  }
  return words;
}

// How much a name says that it means the field. An earlier word says more.
size_t Likeness(const FieldWords& field, const std::vector<std::string>& words) {
  size_t likeness = 0;
  for (const std::string& word : words) {
    const auto found = std::ranges::find(field.words, word);
    if (!word.empty() && found != field.words.end())
      likeness += static_cast<size_t>(field.words.end() - found);
  }
  return likeness;
}

std::optional<double> NumberOf(const json::value& value) {
  if (value.is_string()) {
    const json::string& text = value.get_string();
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
  }
  if (value.is_int64()) return static_cast<double>(value.get_int64());
  if (value.is_uint64()) return static_cast<double>(value.get_uint64());
  if (value.is_double()) return value.get_double();
  return std::nullopt;
}

TimeUnit UnitOf(double time) {
  const double size = std::abs(time);
  if (size < 1e11) return TimeUnit::kSeconds;
  if (size < 1e14) return TimeUnit::kMillis;
  return size < 1e17 ? TimeUnit::kMicros : TimeUnit::kNanos;
}

bool IsInteger(const json::value& value) {
  if (!value.is_string()) return value.is_int64();
  const json::string& text = value.get_string();
  int64_t integer = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), integer);
  return error == std::errc() && end == text.data() + text.size() &&
         std::to_string(integer) == std::string_view(text);
}

}  // namespace

ElementLook LookAt(std::string_view element) {
  ElementLook look;
  boost::system::error_code error;
  const json::value value = json::parse({element.data(), element.size()}, error);
  const json::object* object = error ? nullptr : value.if_object();
  if (object == nullptr) return look;
  look.is_object = true;
  for (const auto& [name, unused] : *object) look.names.emplace_back(name);
  if (const json::value* id = object->if_contains("detection_oid"))
    look.id = IsInteger(*id) ? IdForm::kInteger : IdForm::kOther;
  if (const json::value* time = object->if_contains("timestamp_detected")) {
    if (const std::optional<double> number = NumberOf(*time)) {
      look.unit = UnitOf(*number);
      look.has_fraction = time->is_double();
    }
  }
  if (const json::value* camera = object->if_contains("video_camera_oid"))
    if (const std::optional<double> number = NumberOf(*camera); number && std::abs(*number) < 9e18)
      look.camera = CameraId{static_cast<int64_t>(*number)};
  return look;
}

std::string NearestName(std::string_view field, const std::vector<std::string>& names) {
  std::string nearest;
  size_t best = 0;
  for (const std::string& name : names) {
    const std::vector<std::string> words = WordsOf(name);
    size_t own = 0, other = 0;
    bool is_field = false;
    for (const FieldWords& known : kFieldWords) {
      is_field |= known.field == name;
      const size_t likeness = Likeness(known, words);
      if (known.field == field)
        own = likeness;
      else
        other = std::max(other, likeness);
    }
    if (is_field || own <= std::max(best, other)) continue;
    nearest = name;
    best = own;
  }
  return nearest;
}

}  // namespace sightline
