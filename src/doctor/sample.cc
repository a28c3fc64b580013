#include "doctor/sample.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/murmur2.h"
#include "doctor/element_look.h"
#include "doctor/wording.h"
#include "operators/json_walk.h"

namespace sightline {
namespace {

// So many elements tell how times are written. A block of a file has more.
constexpr int64_t kProbedElements = 1'000;
constexpr size_t kProbedBytes = 4 << 20;
constexpr int64_t kLookedAtMax = 100'000;
constexpr size_t kExamplesMax = 2;
constexpr size_t kExampleBytes = 160;
constexpr size_t kNamesMax = 100;

// The beginning of an element, cut where a character begins.
std::string Example(std::string_view bytes) {
  if (bytes.size() <= kExampleBytes) return PrintableText(bytes);
  size_t end = kExampleBytes;
  while (end > 0 && (static_cast<unsigned char>(bytes[end]) & 0xc0) == 0x80) --end;
  return PrintableText(bytes.substr(0, end)) + "...";
}

std::string Padded(std::string_view bytes) {
  std::string padded(bytes);
  padded.append(kDecodePadding, ' ');
  return padded;
}

int64_t PlaceOf(const SampleMessage& message, const Event& event) {
  return message.partition ? message.place : message.place + event.line;
}

}  // namespace

std::string PlaceText(int32_t partition, int64_t place) {
  return partition < 0 ? fmt::format("line {}", place)
                       : fmt::format("partition {}, offset {}", partition, place);
}

Sample::Sample(const Options& options) : options_(options), probe_(DecodeRules{}) {}

void Sample::Add(const SampleMessage& message) {
  if (Full()) return;
  if (decoder_) return Take(message);
  Waiting& waiting = waiting_.emplace_back(
      Waiting{.bytes = Padded(message.bytes), .key = std::nullopt, .message = message});
  if (message.key) waiting.key.emplace(*message.key);
  waiting_bytes_ += message.bytes.size();
  events_.clear();
  probe_.Decode(message.bytes, events_);
  for (const Event& event : events_) {
    const ElementLook look = LookAt(event.bytes);
    ++waiting_elements_;
    if (look.unit) ++probed_units_[*look.unit];
    totals_.zoneless += event.reason == MalformedReason::kNoTimeZone ? 1 : 0;
  }
  probe_.Clear();
  if (waiting_elements_ >= kProbedElements || waiting_bytes_ >= kProbedBytes) Finish();
}

void Sample::Finish() {
  if (!decoder_) Choose();
  for (Waiting& waiting : waiting_) {
    waiting.message.bytes = std::string_view(waiting.bytes).substr(0, waiting.message.bytes.size());
    if (waiting.key) waiting.message.key = *waiting.key;
    Take(waiting.message);
  }
  waiting_.clear();
}

// The unit that most times have. A zone is needed to go on: any will do.
void Sample::Choose() {
  const auto most =
      std::ranges::max_element(probed_units_, {}, [](const auto& unit) { return unit.second; });
  if (most != probed_units_.end()) rules_.timestamp_unit = most->first;
  if (totals_.zoneless > 0) rules_.timestamp_zone = "UTC";
  decoder_.emplace(rules_);
  DecodeRules normalizing = rules_;
  normalizing.item_names = ItemNames::kNfc;
  normalizer_.emplace(normalizing);
}

void Sample::Take(const SampleMessage& message) {
  if (Full()) return;
  ++totals_.messages;
  totals_.bytes += static_cast<int64_t>(message.bytes.size());
  events_.clear();
  decoder_->Decode(message.bytes, events_);
  TakeLayout(message.bytes, events_);
  const auto readable = std::ranges::find_if(
      events_, [](const Event& e) { return e.kind != Event::Kind::kMalformed; });
  if (readable != events_.end()) TakeKey(message, *readable);
  for (const Event& event : events_) {
    if (Full()) break;
    TakeElement(message, event);
  }
  decoder_->Clear();
}

void Sample::TakeLayout(std::string_view message, const std::vector<Event>& events) {
  const bool is_array = Trim(message).starts_with('[');
  totals_.arrays += is_array ? 1 : 0;
  for (size_t i = 0; i < events.size(); ++i) {
    const bool is_whole = events[i].kind != Event::Kind::kMalformed;
    if (is_whole && events[i].bytes.find('\n') != std::string_view::npos) ++totals_.indented;
    if (!is_array && is_whole && i > 0 && events[i].line == events[i - 1].line)
      ++totals_.concatenated;
  }
}

void Sample::TakeKey(const SampleMessage& message, const Event& first) {
  if (!message.partition) return;
  ++totals_.records;
  if (!message.key) return;
  ++totals_.keyed;
  if (*message.key == std::to_string(first.camera.v)) ++totals_.keyed_by_camera;
  if (*message.key == std::to_string(first.id.v)) ++totals_.keyed_by_id;
  const auto partitions = static_cast<uint32_t>(std::max(options_.partitions, 1));
  if ((Murmur2(*message.key) & 0x7fffffffu) % partitions ==
      static_cast<uint32_t>(*message.partition))
    ++totals_.murmur2;
}

void Sample::TakeElement(const SampleMessage& message, const Event& event) {
  if (event.kind == Event::Kind::kMalformed) return TakeMalformed(message, event);
  const uint32_t camera = CameraOf(event.camera);
  if (message.partition) cameras_[camera].partitions.insert(*message.partition);
  if (event.kind == Event::Kind::kHeartbeat) {
    ++totals_.heartbeats;
    return;
  }
  ++totals_.detections;
  ++cameras_[camera].detections;
  const uint32_t item = ItemOf(event);
  rows_.push_back({.time = event.time,
                   .append_time = message.append_time,
                   .location = event.location,
                   .id = event.id,
                   .place = PlaceOf(message, event),
                   .partition = message.partition.value_or(-1),
                   .camera = camera,
                   .item = item});
  if (totals_.looked_at >= kLookedAtMax) return;
  ++totals_.looked_at;
  const ElementLook look = LookAt(event.bytes);
  if (look.unit) ++cameras_[camera].units[*look.unit];
  totals_.fractions += look.has_fraction ? 1 : 0;
  if (look.id == IdForm::kOther && totals_.text_ids++ == 0)
    text_id_ = fmt::format("{}: {}", PlaceText(rows_.back().partition, rows_.back().place),
                           Example(event.bytes));
}

void Sample::TakeMalformed(const SampleMessage& message, const Event& event) {
  ++totals_.malformed;
  Malformed& of = malformed_[{event.reason, std::string(event.field)}];
  ++of.elements;
  if (of.examples.size() < kExamplesMax)
    of.examples.push_back(
        fmt::format("{}: {}", PlaceText(message.partition.value_or(-1), PlaceOf(message, event)),
                    Example(event.bytes)));
  if (of.elements > kLookedAtMax) return;
  const ElementLook look = LookAt(event.bytes);
  if (look.camera && of.cameras.size() < kNamesMax) of.cameras.insert(*look.camera);
  if (look.camera && look.unit) ++cameras_[CameraOf(*look.camera)].units[*look.unit];
  if (event.reason != MalformedReason::kMissingField) return;
  const std::string name = NearestName(event.field, look.names);
  if (of.names.size() < kNamesMax || of.names.contains(name)) ++of.names[name];
}

uint32_t Sample::CameraOf(CameraId id) {
  const auto [it, is_new] = camera_index_.try_emplace(id.v, static_cast<uint32_t>(cameras_.size()));
  if (is_new) cameras_.push_back({.id = id});
  return it->second;
}

uint32_t Sample::ItemOf(const Event& event) {
  auto it = item_index_.find(event.item);
  if (it == item_index_.end()) {
    it = item_index_.emplace(event.item, static_cast<uint32_t>(items_.size())).first;
    Item& item = items_.emplace_back(Item{.name = std::string(event.item), .normalized = {}});
    // The decoder knows Unicode. The text of the whole element is at hand, so it reads that again.
    const std::string again = Padded(event.bytes);
    std::vector<Event> normalized;
    normalizer_->DecodeElement(std::string_view(again).substr(0, event.bytes.size()), normalized);
    item.normalized = normalized.empty() || normalized[0].item.empty()
                          ? item.name
                          : std::string(normalized[0].item);
    normalizer_->Clear();
  }
  ++items_[it->second].detections;
  return it->second;
}

}  // namespace sightline
