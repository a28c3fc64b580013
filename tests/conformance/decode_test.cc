// Decoding: every implementation reads the same events from the same bytes. The files in decode/
// say which (README.md): first.jsonl is what Decoding::kFirst has always read, and may never
// change.

#include "operators/decode.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace sightline {
namespace {

namespace json = boost::json;

// The files hold bytes as the characters U+0000 to U+00FF.
std::string Bytes(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      bytes += text[i];
    } else {
      bytes += static_cast<char>((c & 0x03) << 6 | (static_cast<unsigned char>(text[++i]) & 0x3f));
    }
  }
  return bytes;
}

std::string Text(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    const auto c = static_cast<unsigned char>(byte);
    if (c < 0x80) {
      text += byte;
    } else {
      text += static_cast<char>(0xc0 | c >> 6);
      text += static_cast<char>(0x80 | (c & 0x3f));
    }
  }
  return text;
}

std::string Describe(const Event& event) {
  switch (event.kind) {
    case Event::Kind::kMalformed:
      return fmt::format("malformed {}{}{}", ToString(event.reason), event.field.empty() ? "" : " ",
                         event.field);
    case Event::Kind::kHeartbeat:
      return fmt::format("heartbeat {} {} {}", event.camera.v, event.location.v, event.time.v);
    case Event::Kind::kDetection:
      return fmt::format("detection {} {} {} {} {}", event.camera.v, event.location.v, event.id.v,
                         event.time.v, Text(event.item));
  }
  return "";
}

std::string ValueOf(const json::object& object, std::string_view name) {
  const json::value* const value = object.if_contains(name);
  return value == nullptr ? "" : std::string(value->as_string());
}

DecodeRules RulesOf(const json::object& line, Decoding version) {
  DecodeRules rules = version == Decoding::kFirst ? kOldestRules : DecodeRules{};
  const std::string unit = ValueOf(line, "timestamp_unit");
  if (unit == "s") rules.timestamp_unit = TimeUnit::kSeconds;
  if (unit == "us") rules.timestamp_unit = TimeUnit::kMicros;
  if (unit == "ns") rules.timestamp_unit = TimeUnit::kNanos;
  if (ValueOf(line, "detection_ids") == "integer") rules.detection_ids = DetectionIds::kInteger;
  if (ValueOf(line, "item_names") == "nfc") rules.item_names = ItemNames::kNfc;
  rules.timestamp_zone = ValueOf(line, "timestamp_zone");
  return rules;
}

std::vector<std::string> Decode(const json::object& line, Decoding version) {
  std::string message = Bytes(ValueOf(line, "bytes"));
  const size_t size = message.size();
  message.append(kDecodePadding, '"');
  Decoder decoder(RulesOf(line, version));
  std::vector<Event> events;
  decoder.Decode({message.data(), size}, events);
  std::vector<std::string> described;
  for (const Event& event : events) described.push_back(Describe(event));
  return described;
}

void CheckFile(const std::string& name, Decoding version, int64_t lines) {
  std::ifstream file(std::string(SIGHTLINE_DECODE_FILES) + "/" + name);
  std::string text;
  int64_t number = 0;
  while (std::getline(file, text)) {
    ++number;
    const json::value value = json::parse(text);
    const json::object& line = value.as_object();
    std::vector<std::string> expected;
    for (const json::value& event : line.at("events").as_array())
      expected.emplace_back(event.as_string());
    EXPECT_EQ(Decode(line, version), expected) << name << ":" << number << ": " << text;
  }
  EXPECT_GE(number, lines) << name;
}

TEST(DecodeConformance, First) { CheckFile("first.jsonl", Decoding::kFirst, 900); }
TEST(DecodeConformance, Second) { CheckFile("second.jsonl", Decoding::kSecond, 900); }

}  // namespace
}  // namespace sightline
