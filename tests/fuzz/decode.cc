// Decoder: whatever the bytes, every element is accounted for, its views are readable, and the same
// bytes decode to the same again - in another decoder, with other bytes behind them, and element by
// element.

#include "operators/decode.h"

#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "fuzz_input.h"

namespace sightline {
namespace {

bool Equal(const Event& a, const Event& b) {
  return a.kind == b.kind && a.reason == b.reason && a.field == b.field && a.camera == b.camera &&
         a.location == b.location && a.id == b.id && a.item == b.item && a.time == b.time &&
         a.published == b.published && a.bytes == b.bytes;
}

// RFC 3629: no overlong forms, no surrogates, nothing beyond U+10FFFF.
bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if ((lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || i + length > text.size()) return false;
    uint32_t code = length == 1 ? lead : lead & (0x7Fu >> length);
    for (size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0) != 0x80) return false;
      code = code << 6 | (next & 0x3F);
    }
    if ((length == 3 && code < 0x800) || (length == 4 && code < 0x10000) || code > 0x10FFFF ||
        (code >= 0xD800 && code < 0xE000))
      return false;
    i += length;
  }
  return true;
}

void CheckEvent(const Event& event, const FuzzInput& input) {
  CHECK(input.Holds(event.bytes) || event.bytes.empty());
  const bool malformed = event.kind == Event::Kind::kMalformed;
  CHECK(malformed == (event.reason != MalformedReason::kNone));
  if (malformed) return;
  CHECK(kFirstEventTime <= event.time && event.time <= kLastEventTime);
  if (event.kind == Event::Kind::kHeartbeat) return;
  CHECK(!event.item.empty() && event.item.size() <= kItemNameBytesMax);
  CHECK(IsUtf8(event.item));
}

void Check(std::string_view bytes, const DecodeRules& rules) {
  const FuzzInput input(bytes, kDecodePadding, '\0');
  const FuzzInput again(bytes, kDecodePadding, '"');
  Decoder decoder(rules), other(rules);
  std::vector<Event> events, same;
  decoder.Decode(input.view(), events);
  other.Decode(again.view(), same);
  CHECK(events.size() == same.size());
  for (size_t i = 0; i < events.size(); ++i) {
    CheckEvent(events[i], input);
    CHECK(Equal(events[i], same[i]));
    CHECK(events[i].index == static_cast<int32_t>(i));
    CHECK(i == 0 || events[i - 1].line <= events[i].line);
  }
  for (const Event& event : events) {
    if (event.kind == Event::Kind::kMalformed) continue;
    const FuzzInput element(event.bytes, kDecodePadding, '}');
    std::vector<Event> alone;
    other.DecodeElement(element.view(), alone);
    CHECK(alone.size() == 1 && Equal(alone[0], event));
    alone.clear();
    other.Decode(element.view(), alone);
    CHECK(alone.size() == 1 && Equal(alone[0], event));
  }
  const std::string malformed = other.AsOneMalformed(input.view());
  const FuzzInput record(malformed, kDecodePadding, '}');
  std::vector<Event> one;
  other.Decode(record.view(), one);
  CHECK(one.size() == 1 && one[0].kind == Event::Kind::kMalformed);
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sightline;
  const std::string_view bytes = ViewOf(data, size);
  Check(bytes, {});
  Check(bytes, kOldestRules);
  Check(bytes, {.timestamp_unit = TimeUnit::kSeconds,
                .item_names = ItemNames::kNfc,
                .timestamp_zone = "Europe/Berlin"});
  return 0;
}
