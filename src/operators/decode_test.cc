#include "operators/decode.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sightline {
namespace {

constexpr std::string_view kGood =
    R"({"geographical_location_oid":7,"video_camera_oid":8,"detection_oid":9,"item_name":"car","timestamp_detected":1763800020000})";

// A decoded event that owns its text.
struct Seen {
  Event event;
  std::string item, field, bytes;
};

std::vector<Seen> Decode(std::string_view message, TimeUnit unit = TimeUnit::kMillis) {
  // Exactly kDecodePadding bytes behind it, so that AddressSanitizer detects a read too far.
  std::vector<char> padded(message.size() + kDecodePadding, 'x');
  std::copy(message.begin(), message.end(), padded.begin());
  Decoder decoder({.timestamp_unit = unit});
  std::vector<Event> events;
  decoder.Decode({padded.data(), message.size()}, events);
  std::vector<Seen> seen;
  for (const Event& e : events)
    seen.push_back({e, std::string(e.item), std::string(e.field), std::string(e.bytes)});
  return seen;
}

Seen One(std::string_view message, TimeUnit unit = TimeUnit::kMillis) {
  const auto seen = Decode(message, unit);
  EXPECT_EQ(seen.size(), 1u) << message;
  return seen.empty() ? Seen{} : seen[0];
}

std::string With(std::string_view field, std::string_view value) {
  std::string text(kGood);
  const size_t at = text.find(field) + field.size() + 2;
  const size_t end = text.find_first_of(",}", at);
  return text.replace(at, end - at, value);
}

void ExpectMalformed(std::string_view message, MalformedReason reason,
                     std::string_view field = "") {
  const Seen seen = One(message);
  EXPECT_EQ(seen.event.kind, Event::Kind::kMalformed) << message;
  EXPECT_EQ(ToString(seen.event.reason), ToString(reason)) << message;
  EXPECT_EQ(seen.field, field) << message;
}
using R = MalformedReason;

TEST(Decode, ADetection) {
  const Seen seen = One(kGood);
  EXPECT_EQ(seen.event.kind, Event::Kind::kDetection);
  EXPECT_EQ(seen.event.location.v, 7);
  EXPECT_EQ(seen.event.camera.v, 8);
  EXPECT_EQ(seen.event.id.v, 9);
  EXPECT_EQ(seen.item, "car");
  EXPECT_EQ(seen.event.time.v, 1763800020000);
  EXPECT_EQ(seen.bytes, kGood);
}

TEST(Decode, FieldsInAnyOrderWithExtraOnesAndSpaces) {
  const Seen seen =
      One(" { \"extra\" : {\"a\":[1,{\"b\":\"}\"}]}, \"item_name\" : \"a\\u0062\\\"\" , "
          "\"timestamp_detected\":\"2026-11-22T12:00:00.250+01:00\", \"detection_oid\":\"-9\","
          "\"video_camera_oid\" :8 ,\"geographical_location_oid\": \"7\", \"timestamp\":5, "
          "\"heartbeat\":false } ");
  ASSERT_EQ(seen.event.kind, Event::Kind::kDetection) << ToString(seen.event.reason);
  EXPECT_EQ(seen.item, "ab\"");
  EXPECT_EQ(seen.event.id.v, -9);
  EXPECT_EQ(seen.event.location.v, 7);
  EXPECT_EQ(seen.event.time.v, 1795345200250);
  EXPECT_EQ(seen.event.published.v, 5);
}

TEST(Decode, EscapedKeysAreTheSameKeys) {
  std::string text(kGood);
  text.replace(text.find("item_name"), 9, "item\\u005fname");
  EXPECT_EQ(One(text).item, "car");
}

TEST(Decode, OidsAtTheEndsOf64Bits) {
  for (const char* oid : {"-9223372036854775808", "9223372036854775807", "\"9223372036854775807\""})
    EXPECT_EQ(One(With("detection_oid", oid)).event.kind, Event::Kind::kDetection) << oid;
  EXPECT_EQ(One(With("detection_oid", "-9223372036854775808")).event.id.v, INT64_MIN);
  for (const char* oid : {"9223372036854775808", "-9223372036854775809", "1e400",
                          "99999999999999999999999999999999999999"})
    EXPECT_EQ(One(With("video_camera_oid", oid)).event.kind, Event::Kind::kMalformed) << oid;
  ExpectMalformed(With("video_camera_oid", "9223372036854775808"), R::kOutOfRange,
                  "video_camera_oid");
}

TEST(Decode, WrongTypes) {
  for (const char* field : {"geographical_location_oid", "video_camera_oid", "timestamp_detected"})
    for (const char* value : {"1.5", "1e3", "true", "null", "{}", "[]", "\"x\"", "\"\"", "01",
                              "\" 1\"", "\"1.0\"", "-"})
      ExpectMalformed(With(field, value), R::kWrongType, field);
  for (const char* value : {"5", "null", "[]", "{}", "true"})
    ExpectMalformed(With("item_name", value), R::kWrongType, "item_name");
}

// Integers are themselves; all other text is its XXH64 with seed 42. tests/reference/decode.py
// computes the same from the specification.
TEST(Decode, IdsThatAreNoIntegers) {
  for (const auto& [value, id] : std::vector<std::pair<const char*, int64_t>>{
           {"-0", 0},
           {"\"12\"", 12},
           {"\"550e8400-e29b-41d4-a716-446655440000\"", 6602470586509939326},
           {"\"1707469187.139544-bk2da3\"", -498684274807007490},
           {"18446744073709551615", 3816116376163377194},
           {"\"18446744073709551615\"", 3816116376163377194},
           {"\"caf\\u00e9\"", 5061622738426082655},
           {"\"caf\u00e9\"", 5061622738426082655}}) {
    const Seen seen = One(With("detection_oid", value));
    EXPECT_EQ(seen.event.kind, Event::Kind::kDetection) << value;
    EXPECT_EQ(seen.event.id.v, id) << value;
  }
  const std::string text(128, 'x');
  EXPECT_EQ(One(With("detection_oid", "\"" + text + "\"")).event.kind, Event::Kind::kDetection);
  ExpectMalformed(With("detection_oid", "\"" + text + "x\""), R::kOutOfRange, "detection_oid");
  for (const char* value : {"true", "null", "{}", "[]", "\"\"", "01", "+1", "-", "1."})
    ExpectMalformed(With("detection_oid", value), R::kWrongType, "detection_oid");
}

TEST(Decode, ItemNumbers) {
  ExpectMalformed(With("item_name", "\"\""), R::kItemName, "item_name");
  ExpectMalformed(With("item_name", "\"" + std::string(257, 'x') + "\""), R::kItemName,
                  "item_name");
  ExpectMalformed(With("item_name", "\"" + std::string(10'000, 'x') + "\""), R::kItemName,
                  "item_name");
  EXPECT_EQ(One(With("item_name", "\"" + std::string(256, 'x') + "\"")).item.size(), 256u);
  EXPECT_EQ(One(With("item_name", "\"se\u00f1al\"")).item, "se\u00f1al");
  EXPECT_EQ(One(With("item_name", "\"a\\u0000b\"")).item, std::string("a\0b", 3));
  ExpectMalformed(With("item_name", "\"\\ud800\""), R::kNotJson);
  ExpectMalformed(With("item_name", "\"\xff\xfe\""), R::kNotJson);
  ExpectMalformed(With("item_name", "\"a\tb\""), R::kNotJson);
  EXPECT_EQ(Decode(With("item_name", "\"a\nb\"")).size(), 2u);  // a line end always ends an element
}

TEST(Decode, MissingAndDuplicateFields) {
  for (const char* field : {"geographical_location_oid", "video_camera_oid", "detection_oid",
                            "item_name", "timestamp_detected"}) {
    std::string text(kGood);
    text.replace(text.find(field), 1, "X");
    ExpectMalformed(text, R::kMissingField, field);
    text = std::string(kGood);
    text.insert(1, std::string("\"") + field + "\":1,");
    const Seen seen = One(text);
    EXPECT_EQ(seen.event.reason, R::kDuplicateField) << field;
  }
}

TEST(Decode, EveryTruncationIsMalformed) {
  for (size_t size = 1; size < kGood.size(); ++size) {
    const Seen seen = One(kGood.substr(0, size));
    EXPECT_EQ(seen.event.kind, Event::Kind::kMalformed) << size;
  }
}

// The parser would skip these up to the end of the text and beyond.
TEST(Decode, AValueThatIsNoneOrHasNoEnd) {
  const std::string behind(kGood.substr(1));
  for (const char* value :
       {R"("{a":["}"]})", R"("a":{})", R"("a":"b")", R"("a":1)", ":", ":1}", ",", "]", "}", "1 2",
        R"("a" "b")", "[1", "[1}", R"({"a":1)", R"({"a":[1})", R"([")"})
    for (const char* field : {"note", "published"})
      for (const Seen& seen : Decode("{\"" + std::string(field) + "\":" + value + "," + behind))
        EXPECT_EQ(seen.event.kind, Event::Kind::kMalformed) << field << value;
  for (const char* value :
       {"[]", "{}", R"([1,{"a":["}"]}])", R"({"a":{"b":"]"}})", "null", R"("\\")"})
    EXPECT_EQ(One("{\"note\":" + std::string(value) + " ," + behind).event.kind,
              Event::Kind::kDetection)
        << value;
}

TEST(Decode, NoJson) {
  for (const char* text : {"", " ", "\n\n", "{", "}", "{}}", "{]", "hello", "{\"a\":}", "\xff",
                           "{\"a\" 1}", "{'a':1}", "\x01"})
    EXPECT_EQ(One(text).event.reason == R::kNotJson || One(text).event.reason == R::kMissingField,
              true)
        << text;
  ExpectMalformed(std::string(kGood) + "x", R::kNotJson);
  ExpectMalformed(std::string(kGood) + "}", R::kNotJson);
  ExpectMalformed(std::string_view("\0", 1), R::kNotJson);
  for (const char* text : {"5", "\"a\"", "true", "null", "-1"})
    ExpectMalformed(text, R::kNotAnObject);
  ExpectMalformed("{}", R::kMissingField, "geographical_location_oid");
}

TEST(Decode, DeepNestingInAnIgnoredFieldIsNoHarm) {
  std::string deep(100'000, '[');
  const Seen open = One("{\"x\":" + deep);
  EXPECT_EQ(open.event.kind, Event::Kind::kMalformed);
  std::string text =
      "{\"x\":" + deep + std::string(100'000, ']') + "," + std::string(kGood.substr(1));
  const Seen seen = One(text);
  EXPECT_TRUE(seen.event.kind == Event::Kind::kDetection || seen.event.reason == R::kTooDeep ||
              seen.event.reason == R::kNotJson);
  EXPECT_EQ(Decode(deep).size(), 1u);
}

TEST(Decode, Heartbeats) {
  const Seen seen = One(
      R"({"video_camera_oid":8,"geographical_location_oid":7,"heartbeat":"2026-11-22T12:00:00Z"})");
  EXPECT_EQ(seen.event.kind, Event::Kind::kHeartbeat);
  EXPECT_EQ(seen.event.time.v, 1795348800000);
  ExpectMalformed(R"({"video_camera_oid":8,"geographical_location_oid":7,"heartbeat":true})",
                  R::kWrongType, "heartbeat");
  ExpectMalformed(R"({"geographical_location_oid":7,"heartbeat":5})", R::kMissingField,
                  "video_camera_oid");
}

TEST(Decode, ArraysAndLines) {
  const std::string good(kGood);
  EXPECT_EQ(Decode("[]").size(), 0u);
  EXPECT_EQ(Decode("[ ]\n").size(), 0u);
  EXPECT_EQ(Decode("[" + good + "," + good + "]").size(), 2u);
  EXPECT_EQ(Decode("[\n" + good + "\n,\n" + good + "\n]\n").size(), 2u);
  EXPECT_EQ(Decode("\xEF\xBB\xBF" + good + "\r\n" + good + "\r\n\r\n").size(), 2u);
  EXPECT_EQ(Decode("[" + good + "]\n[" + good + "," + good + "]\n" + good).size(), 4u);
  EXPECT_EQ(Decode(good + "\n[" + good + "," + good + "]").size(), 3u);
  const auto lines = Decode(good + "\n{\"broken\n" + good);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[1].event.kind, Event::Kind::kMalformed);
  EXPECT_EQ(lines[2].event.kind, Event::Kind::kDetection);
  EXPECT_EQ(lines[2].event.line, 2);
  EXPECT_EQ(lines[2].event.index, 2);
}

TEST(Decode, ABadElementOfAnArraySpoilsOnlyItself) {
  const std::string good(kGood);
  const auto seen = Decode("[" + good + ",{\"a\":\"\xff\"},5,," + good + ",[1],{\"b\":\"],\"}]");
  ASSERT_EQ(seen.size(), 7u);
  EXPECT_EQ(seen[0].event.kind, Event::Kind::kDetection);
  EXPECT_EQ(seen[1].event.reason, R::kNotJson);
  EXPECT_EQ(seen[2].event.reason, R::kNotAnObject);
  EXPECT_EQ(seen[3].event.reason, R::kNotJson);
  EXPECT_EQ(seen[4].event.kind, Event::Kind::kDetection);
  EXPECT_EQ(seen[5].event.reason, R::kNotAnObject);
  EXPECT_EQ(seen[6].event.reason, R::kMissingField);
  const auto cut = Decode("[" + good + "," + good.substr(0, 50));
  ASSERT_EQ(cut.size(), 2u);
  EXPECT_EQ(cut[0].event.kind, Event::Kind::kDetection);
  EXPECT_EQ(cut[1].event.reason, R::kNotJson);
}

TEST(Decode, APrettyPrintedObject) {
  std::string text(kGood);
  for (size_t at = 0; (at = text.find(',', at)) != std::string::npos; at += 2)
    text.insert(at + 1, "\n");
  text.insert(1, "\n");
  EXPECT_EQ(One(text).event.kind, Event::Kind::kDetection);
}

// Wherever the lines of one object break, it is one element, as it is inside an array.
TEST(Decode, AnObjectOverLinesHoweverTheyBreak) {
  const std::string good(kGood);
  for (size_t at = 1; at < good.size(); ++at) {
    if (std::string_view(",:{}").find(good[at]) == std::string_view::npos) continue;
    for (const size_t before : {at, at + 1}) {
      if (before >= good.size()) continue;
      std::string text = good;
      text.insert(before, "\r\n");
      EXPECT_EQ(One(text).event.kind, Event::Kind::kDetection) << text;
      const auto in_array = Decode("[" + text + "," + good + "]");
      ASSERT_EQ(in_array.size(), 2u) << text;
      EXPECT_EQ(in_array[0].event.kind, Event::Kind::kDetection) << text;
    }
  }
  // A line that was cut off costs only itself.
  const auto cut = Decode(good.substr(0, 50) + "\n" + good);
  ASSERT_EQ(cut.size(), 2u);
  EXPECT_EQ(cut[0].event.reason, MalformedReason::kNotJson);
  EXPECT_EQ(cut[1].event.kind, Event::Kind::kDetection);
}

// The time that it takes is linear in the size. With the square, this would take long.
TEST(Decode, TextThatNeverEndsIsReadOnce) {
  for (const std::string& line :
       {std::string("{\"a\":\n"), std::string("[\n"), std::string("{\n\n"),
        std::string("{\"a\":[\n"), std::string("[{\"a\":\n")}) {
    std::string text;
    while (text.size() < (256 << 10)) text += line;
    EXPECT_GE(Decode(text + std::string(kGood)).size(), 1u) << line;
  }
}

TEST(Decode, OtherFormatsAreNamed) {
  const std::string good(kGood);
  std::string wide("\xFF\xFE", 2);
  for (const char c : good) wide.append({c, '\0'});
  ExpectMalformed(wide, R::kUtf16);
  ExpectMalformed(wide.substr(2), R::kUtf16);
  ExpectMalformed("sep=;\r\nvideo_camera_oid;item_name\r\n1;car\r\n", R::kCsv);
  ExpectMalformed("video_camera_oid,item_name\n1,car\n" + good, R::kCsv);
  // The end of an object whose beginning was cut off is not a line of names.
  EXPECT_EQ(Decode(good.substr(30) + "\n" + good)[1].event.kind, Event::Kind::kDetection);
}

TEST(Decode, AnElementThatIsTooLarge) {
  ExpectMalformed("{\"x\":\"" + std::string(2 << 20, 'x') + "\"}", R::kTooLarge);
}

TEST(Decode, Times) {
  EXPECT_EQ(One(With("timestamp_detected", "0")).event.time.v, 0);
  EXPECT_EQ(One(With("timestamp_detected", "-1")).event.time.v, -1);
  EXPECT_EQ(One(With("timestamp_detected", "253402300799999")).event.time.v, 253402300799999);
  ExpectMalformed(With("timestamp_detected", "253402300800000"), R::kOutOfRange,
                  "timestamp_detected");
  EXPECT_EQ(One(With("timestamp_detected", "5"), TimeUnit::kSeconds).event.time.v, 5000);
  EXPECT_EQ(One(With("timestamp_detected", "-5"), TimeUnit::kMicros).event.time.v, -1);
  EXPECT_EQ(One(With("timestamp_detected", "1999999"), TimeUnit::kNanos).event.time.v, 1);
  EXPECT_EQ(One(With("timestamp_detected", "9223372036854775807"), TimeUnit::kSeconds).event.reason,
            R::kOutOfRange);
  for (auto [text, ms] :
       std::vector<std::pair<const char*, int64_t>>{{"1970-01-01T00:00:00Z", 0},
                                                    {"1969-12-31T23:59:59.999Z", -1},
                                                    {"2000-02-29t12:30:00.1234z", 951827400123},
                                                    {"2016-12-31T23:59:60Z", 1483228800000},
                                                    {"2026-01-01 00:00:00-05:30", 1767245400000},
                                                    {"9999-12-31T23:59:59.999Z", 253402300799999},
                                                    {"0001-01-01T00:00:00Z", -62135596800000}})
    EXPECT_EQ(One(With("timestamp_detected", "\"" + std::string(text) + "\"")).event.time.v, ms)
        << text;
  for (const char* text :
       {"2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01",
        "2026-01-01T00:00:00+25:00", "2026-01-01T00:00:00.Z", "now"})
    ExpectMalformed(With("timestamp_detected", "\"" + std::string(text) + "\""), R::kWrongType,
                    "timestamp_detected");
}

}  // namespace
}  // namespace sightline
