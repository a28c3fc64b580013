#include "connectors/kafka/rekey_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/check.h"
#include "base/murmur2.h"

namespace sightline {
namespace {

bool IsUnreadable(const Event& event) { return event.kind == Event::Kind::kMalformed; }

// Joins elements into one payload. Several become an array, which accepts any element as it is,
// including line ends.
std::string Joined(const std::vector<std::string_view>& elements) {
  if (elements.size() == 1 && elements.front().find('\n') == std::string_view::npos)
    return std::string(elements.front());
  return fmt::format("[{}]", fmt::join(elements, ","));
}

}  // namespace

RekeyMap::RekeyMap(RekeyBy by, const DecodeRules& rules, int32_t partitions)
    : by_(by), partitions_(partitions), decoder_(rules), again_(rules) {
  CHECK(partitions >= 1);
}

int64_t RekeyMap::KeyOf(const Event& event) const {
  return by_ == RekeyBy::kCamera || event.kind == Event::Kind::kHeartbeat ? event.camera.v
                                                                          : event.id.v;
}

// The partition of a record that keeps its old key. A record without a key always goes to the same
// partition, so that the order stays.
int32_t RekeyMap::PlaceOf(const From& from) const {
  if (!from.key) return from.partition % partitions_;
  return static_cast<int32_t>((Murmur2(*from.key) & 0x7fffffffu) %
                              static_cast<uint32_t>(partitions_));
}

KeyedRecord RekeyMap::Keyed(int64_t key, std::string value) const {
  return {PartitionOfKey(key, partitions_), fmt::format("{}", key), std::move(value)};
}

void RekeyMap::Map(const From& from, std::vector<KeyedRecord>& out) {
  events_.clear();
  decoder_.Clear();
  if (from.has_value) decoder_.Decode(from.value, events_);
  const auto broken = std::ranges::count_if(events_, IsUnreadable);
  detections_ += std::ssize(events_) - broken;
  unreadable_ += broken + (from.has_value ? 0 : 1);
  if (broken == std::ssize(events_)) {  // includes a tombstone and an array without elements
    std::optional<std::string> value;
    if (from.has_value) value = from.value;
    out.push_back({PlaceOf(from), from.key, std::move(value)});
    return;
  }
  const int64_t key = KeyOf(*std::ranges::find_if_not(events_, IsUnreadable));
  if (broken == 0 &&
      std::ranges::all_of(events_, [&](const Event& event) { return KeyOf(event) == key; })) {
    out.push_back(Keyed(key, std::string(from.value)));
    return;
  }
  Split(from, out);
}

void RekeyMap::Split(const From& from, std::vector<KeyedRecord>& out) {
  ++split_;
  struct Part {
    std::optional<int64_t> key;  // none: the part keeps the old key
    std::vector<std::string_view> elements;
  };
  std::vector<Part> parts;
  std::map<int64_t, size_t> part_of;
  for (const Event& event : events_) {
    if (IsUnreadable(event)) {
      parts.push_back({std::nullopt, {event.bytes}});
      continue;
    }
    const auto [part, is_new] = part_of.try_emplace(KeyOf(event), parts.size());
    if (is_new) parts.push_back({part->first, {}});
    parts[part->second].elements.push_back(event.bytes);
  }
  for (const Part& part : parts) {
    if (part.key) {
      out.push_back(Keyed(*part.key, Joined(part.elements)));
    } else {
      out.push_back({PlaceOf(from), from.key, again_.AsOneMalformed(part.elements.front())});
    }
  }
}

}  // namespace sightline
