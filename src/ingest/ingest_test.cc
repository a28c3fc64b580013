#include "ingest/ingest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/murmur2.h"

namespace sightline {
namespace {

using R = MalformedReason;
using testing::ElementsAre;
using testing::IsEmpty;

std::string Detection(int64_t camera, int64_t id) {
  return R"({"geographical_location_oid":7,"video_camera_oid":)" + std::to_string(camera) +
         R"(,"detection_oid":)" + std::to_string(id) +
         R"(,"item_name":"bus","timestamp_detected":1763800020000})";
}
const std::string kHeartbeat =
    R"({"video_camera_oid":1,"geographical_location_oid":7,"heartbeat":1763800020000})";

struct Packed {
  int32_t partition;
  std::string bytes;
};

// Returns all records of an ingested body, and checks the contract: each record is one element for
// the engine, and as many of them are malformed as were rejected.
std::vector<Packed> Unpack(const Ingested& ingested) {
  std::vector<Packed> all;
  Decoder decoder(DecodeRules{});
  int64_t malformed = 0;
  for (const PackedRecords& records : ingested.records) {
    ByteReader reader(records.bytes);
    int64_t count = 0;
    for (; reader.remaining() > 0 && reader.ok(); ++count) {
      std::string record(reader.String());
      all.push_back({records.partition, record});
      std::vector<Event> events;
      const size_t size = record.size();
      record.append(kDecodePadding, ' ');
      decoder.Decode({record.data(), size}, events);
      EXPECT_EQ(events.size(), 1u) << all.back().bytes;
      for (const Event& event : events) malformed += event.kind == Event::Kind::kMalformed;
    }
    EXPECT_TRUE(reader.ok());
    EXPECT_EQ(count, records.count);
  }
  EXPECT_EQ(malformed, ingested.rejected);
  EXPECT_EQ(static_cast<int64_t>(all.size()), ingested.accepted + ingested.rejected);
  return all;
}

Ingested IngestAll(std::string body, int32_t partitions = 4, size_t step = 1) {
  const size_t size = body.size();
  body.append(kDecodePadding, 'x');
  IngestScratch scratch(DecodeRules{});
  Ingest ingest({body.data(), size}, partitions, &scratch);
  while (!ingest.Step(step)) {
  }
  Ingested ingested = ingest.Take();
  Unpack(ingested);
  return ingested;
}

std::vector<std::pair<int64_t, R>> Errors(const Ingested& ingested) {
  std::vector<std::pair<int64_t, R>> errors;
  for (const IngestError& error : ingested.errors) errors.emplace_back(error.line, error.reason);
  return errors;
}
std::vector<std::string> Records(const Ingested& ingested) {
  std::vector<std::string> records;
  for (const Packed& packed : Unpack(ingested)) records.push_back(packed.bytes);
  return records;
}

TEST(Ingest, LinesKeepTheirBytesAndGoToTheirCamerasPartition) {
  std::string body;
  for (int camera = 0; camera < 50; ++camera) body += Detection(camera, camera) + "\n";
  const Ingested ingested = IngestAll(body, 4, 1'000);
  EXPECT_EQ(ingested.accepted, 50);
  EXPECT_EQ(ingested.records.size(), 4u);
  for (const Packed& packed : Unpack(ingested)) {
    const size_t at = packed.bytes.find("oid\":", 40) + 5;
    const int64_t camera = std::stoll(packed.bytes.substr(at));
    EXPECT_EQ(packed.bytes, Detection(camera, camera));
    EXPECT_EQ(packed.partition, PartitionOfKey(camera, 4));
  }
}

TEST(Ingest, OrderWithinAPartitionIsTheBodys) {
  const Ingested ingested =
      IngestAll(Detection(1, 3) + "\n" + Detection(2, 1) + "\n" + Detection(1, 2) + "\n", 1);
  EXPECT_THAT(Records(ingested), ElementsAre(Detection(1, 3), Detection(2, 1), Detection(1, 2)));
}

TEST(Ingest, ABadLineSpoilsOnlyItself) {
  const std::string good = Detection(1, 1);
  const Ingested ingested =
      IngestAll(good + "\n" + good.substr(0, 60) + "\n\n" + good + "\nhello\n" +
                    R"({"video_camera_oid":1})" + "\n" + kHeartbeat,
                1);
  EXPECT_EQ(ingested.accepted, 3);
  EXPECT_EQ(ingested.rejected, 3);
  EXPECT_THAT(Errors(ingested), ElementsAre(std::pair(2, R::kNotJson), std::pair(5, R::kNotJson),
                                            std::pair(6, R::kMissingField)));
  EXPECT_EQ(ingested.errors[2].field, "geographical_location_oid");
  EXPECT_EQ(ingested.ToJson(),
            R"({"accepted":3,"rejected":3,"errors":[{"line":2,"reason":"not_json"},)"
            R"({"line":5,"reason":"not_json"},{"line":6,"reason":"missing_field",)"
            R"("field":"geographical_location_oid"}],"errors_truncated":false})");
}

TEST(Ingest, ABodyOfWhichNothingIsAcceptedIsAProblem) {
  const Ingested ingested = IngestAll("hello\n{}\n5\n6\n7\n");
  EXPECT_EQ(ingested.status(), 422);
  EXPECT_EQ(
      ingested.ToJson(),
      R"({"type":"about:blank","title":"Unprocessable Content","status":422,"detail":"nothing was )"
      R"(accepted: line 1: not_json; line 2: missing_field geographical_location_oid; line 3: )"
      R"(not_an_object; and 2 more. The same body would be rejected again: correct the elements, then )"
      R"(send them","accepted":0,"rejected":5,"errors":[{"line":1,"reason":"not_json"},)"
      R"({"line":2,"reason":"missing_field","field":"geographical_location_oid"},)"
      R"({"line":3,"reason":"not_an_object"},{"line":4,"reason":"not_an_object"},)"
      R"({"line":5,"reason":"not_an_object"}],"errors_truncated":false})");
  EXPECT_EQ(Records(ingested).size(), 5u);
  EXPECT_EQ(IngestAll("[]").status(), 200);
  EXPECT_EQ(IngestAll("hello\n" + Detection(1, 1)).status(), 200);
}

TEST(Ingest, EveryKindOfBadElement) {
  auto with = [](std::string_view field, std::string_view value) {
    std::string text = Detection(8, 9);
    const size_t at = text.find(field) + field.size() + 2;
    return text.replace(at, text.find_first_of(",}", at) - at, value);
  };
  const std::string good = Detection(8, 9);
  const std::vector<std::pair<std::string, R>> bad = {
      {good.substr(0, good.size() - 1), R::kNotJson},
      {good + "}", R::kNotJson},
      {good + "x", R::kNotJson},
      {"{}", R::kMissingField},
      {"null", R::kNotAnObject},
      {"12", R::kNotAnObject},
      {"\"text\"", R::kNotAnObject},
      {with("item_name", "7"), R::kWrongType},
      {with("item_name", "\"\""), R::kItemName},
      {with("item_name", "\"" + std::string(257, 'x') + "\""), R::kItemName},
      {with("video_camera_oid", "1.5"), R::kWrongType},
      {with("detection_oid", "true"), R::kWrongType},
      {with("video_camera_oid", "9223372036854775808"), R::kOutOfRange},
      {with("timestamp_detected", "\"yesterday\""), R::kWrongType},
      {with("item_name", "\"\xff\xfe\""), R::kNotJson},
      {with("item_name", "\"a\tb\""), R::kNotJson},
      {with("item_name", std::string("\"a\0b\"", 5)), R::kNotJson},
      {std::string(3, '\0'), R::kNotJson},
      {R"({"detection_oid":1,)" + good.substr(1), R::kDuplicateField},
      {R"({"extra":")" + std::string(2 << 20, 'x') + "\"," + good.substr(1), R::kTooLarge},
      {"\xEF\xBB\xBF" + good, R::kNotJson},  // a mark is one at the start of the body only
  };
  for (const auto& [element, reason] : bad) {
    const Ingested ingested = IngestAll(good + "\n" + element + "\n" + good, 3);
    EXPECT_EQ(ingested.accepted, 2) << element.substr(0, 200);
    ASSERT_THAT(ingested.errors, testing::SizeIs(1)) << element.substr(0, 200);
    EXPECT_EQ(ToString(ingested.errors[0].reason), ToString(reason)) << element.substr(0, 200);
    EXPECT_EQ(ingested.rejected_by[static_cast<size_t>(reason)], 1);
  }
}

TEST(Ingest, DeepNestingHarmsNobody) {
  const std::string good = Detection(8, 9);
  const std::string deep(200'000, '[');
  // It is skipped in a field that is ignored.
  const std::string extra =
      R"({"extra":)" + std::string(5'000, '[') + std::string(5'000, ']') + "," + good.substr(1);
  const Ingested ingested = IngestAll(good + "\n" + deep + "\n" + extra + "\n{\"a\":" + deep, 3);
  EXPECT_EQ(ingested.accepted, 2);
  EXPECT_EQ(ingested.rejected, 2);
}

TEST(Ingest, NumbersAsStringsAreAccepted) {
  const Ingested ingested =
      IngestAll(R"({"geographical_location_oid":"7","video_camera_oid":"8","detection_oid":"-9",)"
                R"("item_name":"bus","timestamp_detected":"2026-11-22T12:00:00Z"})");
  EXPECT_EQ(ingested.accepted, 1);
  EXPECT_EQ(ingested.records[0].partition, PartitionOfKey(8, 4));
}

TEST(Ingest, ByteOrderMarkCarriageReturnsAndBlankLines) {
  const std::string good = Detection(1, 1);
  const Ingested ingested =
      IngestAll("\xEF\xBB\xBF" + good + "\r\n\r\n  \t\r\n" + good + "\r\n", 1);
  EXPECT_EQ(ingested.accepted, 2);
  EXPECT_THAT(Records(ingested), ElementsAre(good, good));
}

TEST(Ingest, BlankBodies) {
  EXPECT_TRUE(IsBlank(""));
  EXPECT_TRUE(IsBlank("\xEF\xBB\xBF \r\n\t\n"));
  EXPECT_FALSE(IsBlank(" []"));
  const Ingested ingested = IngestAll("\xEF\xBB\xBF\n \r\n");
  EXPECT_EQ(ingested.accepted + ingested.rejected, 0);
  EXPECT_THAT(ingested.records, IsEmpty());
}

TEST(Ingest, AnArrayIsCutIntoItsElements) {
  const std::string a = Detection(1, 1), b = Detection(2, 2);
  for (const std::string& body : {"[" + a + "," + b + "]", " [ " + a + " , " + b + " ] \n",
                                  "[\n" + a + ",\n" + b + "\n]\n", "[" + a + "\n," + b + "\n]"}) {
    const Ingested ingested = IngestAll(body, 1);
    EXPECT_THAT(Records(ingested), ElementsAre(a, b)) << body;
  }
  EXPECT_THAT(IngestAll("[]").records, IsEmpty());
  EXPECT_THAT(IngestAll("[\n]\n").records, IsEmpty());
}

TEST(Ingest, APrettyPrintedArraysElementsBecomeLines) {
  std::string pretty = Detection(1, 1);
  for (size_t at = 0; (at = pretty.find(',', at)) != pretty.npos; at += 5)
    pretty.replace(at, 1, "\r\n  ,");
  const Ingested ingested = IngestAll("[\r\n  " + pretty + ",\r\n  " + pretty + "\r\n]\r\n", 1);
  EXPECT_EQ(ingested.accepted, 2);
  for (const std::string& record : Records(ingested)) EXPECT_EQ(record.find('\n'), record.npos);
}

TEST(Ingest, OneObjectOverLines) {
  std::string pretty = Detection(1, 1);
  pretty.insert(1, "\n  ");
  EXPECT_EQ(IngestAll(pretty + "\n").accepted, 1);
  // A body that only looks like one is read as lines.
  const Ingested ingested = IngestAll("{\"a\":1\nhello\n" + Detection(1, 1) + "\n");
  EXPECT_EQ(ingested.accepted, 1);
  EXPECT_THAT(Errors(ingested), ElementsAre(std::pair(1, R::kNotJson), std::pair(2, R::kNotJson)));
}

TEST(Ingest, ValuesOneBehindTheOther) {
  const std::string a = Detection(1, 1), b = Detection(2, 2);
  std::string indented = a;
  for (size_t at = 0; (at = indented.find(',', at)) != indented.npos; at += 4)
    indented.replace(at, 1, ",\n  ");
  for (const std::string& body : {a + b, a + " " + b, indented + b, indented + "\n" + indented,
                                  "[" + a + "]" + b, a + ",\n" + b, "[" + a + "]\n[\n" + b + "]"}) {
    const Ingested ingested = IngestAll(body, 1);
    EXPECT_EQ(ingested.accepted, 2) << body;
    EXPECT_EQ(ingested.rejected, 0) << body;
  }
  // A line that was cut off costs itself, wherever it was cut.
  for (size_t size = 1; size < a.size(); ++size) {
    EXPECT_EQ(IngestAll(a.substr(0, size) + "\n" + a + "\n" + b, 1).accepted, 2) << size;
    EXPECT_EQ(IngestAll(a.substr(size) + "\n" + a + "\n" + b, 1).accepted, 2) << size;
    EXPECT_GE(IngestAll("[" + a.substr(0, size) + "\n" + a + ",\n" + b + "]", 1).accepted, 2)
        << size;
  }
}

TEST(Ingest, OtherFormatsAreOneRejectedElement) {
  const Ingested ingested = IngestAll("video_camera_oid,item_name\n1,car\n2,bus\n");
  EXPECT_THAT(Errors(ingested), ElementsAre(std::pair(1, R::kCsv)));
  EXPECT_EQ(ingested.accepted, 0);
}

TEST(Ingest, LinesOfArrays) {
  const std::string a = Detection(1, 1), b = Detection(2, 2);
  const Ingested ingested =
      IngestAll("[" + a + "," + b + "]\n[]\n[" + a + ",3]\n" + b + "\n[" + a + "][" + b + "]", 1);
  EXPECT_THAT(Records(ingested), ElementsAre(a, b, a, "3", b, a, b));
  EXPECT_THAT(Errors(ingested), ElementsAre(std::pair(3, R::kNotAnObject)));
}

TEST(Ingest, ABrokenArray) {
  const std::string a = Detection(1, 1), b = Detection(2, 2);
  // The elements before the break count, the rest is one rejected element.
  Ingested ingested = IngestAll("[" + a + "," + b + "," + a.substr(0, 50), 1);
  EXPECT_EQ(ingested.accepted, 2);
  EXPECT_THAT(Errors(ingested), ElementsAre(std::pair(3, R::kNotJson)));
  // An array that has no end, although its elements are whole, is one more.
  EXPECT_THAT(Records(IngestAll("[" + a + ",\n" + b + "\n", 1)), ElementsAre(a, b, ","));
  EXPECT_THAT(Records(IngestAll("[" + a + ",", 1)), ElementsAre(a, ","));
  EXPECT_THAT(Records(IngestAll("[", 1)), ElementsAre(","));
  // A line with a broken array spoils only itself.
  ingested = IngestAll("[" + a + "," + b.substr(0, 30) + "\n" + a + "\n" + b, 1);
  EXPECT_EQ(ingested.accepted, 3);
  EXPECT_EQ(ingested.rejected, 1);
  // Bad elements of an array that ends, and what follows it.
  ingested = IngestAll("[" + a + ",[1,2],,{\"x\":[}," + b + "] trailing", 1);
  EXPECT_EQ(ingested.accepted, 1);
  ingested = IngestAll("[" + a + ",[1,2],,{\"x\":1}," + b + "] trailing", 1);
  EXPECT_EQ(ingested.accepted, 2);
  EXPECT_THAT(Errors(ingested),
              ElementsAre(std::pair(2, R::kNotAnObject), std::pair(3, R::kNotJson),
                          std::pair(4, R::kMissingField), std::pair(6, R::kNotAnObject)));
}

TEST(Ingest, RejectedElementsAreCutAndStayRejected) {
  const std::string good = Detection(1, 1);
  const Ingested ingested = IngestAll(good + std::string(100'000, ' ') + "x\n" + good, 1);
  EXPECT_EQ(ingested.accepted, 1);
  EXPECT_LE(Records(ingested)[0].size(), kRejectedBytesMax);
  EXPECT_GE(Records(ingested)[0].size(), kRejectedBytesMax - 2);
}

TEST(Ingest, ErrorsAreListedUpToAHundred) {
  std::string body;
  for (int i = 0; i < 150; ++i) body += "x\n";
  const Ingested ingested = IngestAll(body);
  EXPECT_EQ(ingested.rejected, 150);
  EXPECT_EQ(ingested.errors.size(), kIngestErrorsMax);
  EXPECT_THAT(ingested.ToJson(), testing::HasSubstr("\"errors_truncated\":true"));
}

TEST(Ingest, StepsDoNotChangeTheResult) {
  std::string body;
  for (int i = 0; i < 300; ++i) {
    body += i % 7 == 0 ? "[" + Detection(i, i) + "," + Detection(i + 1, i) + ",x]\n"
                       : Detection(i, i) + "\n";
  }
  const Ingested whole = IngestAll(body, 8, body.size());
  const Ingested steps = IngestAll(body, 8, 100);
  ASSERT_EQ(whole.records.size(), steps.records.size());
  for (size_t i = 0; i < whole.records.size(); ++i)
    EXPECT_EQ(whole.records[i].bytes, steps.records[i].bytes);
  EXPECT_EQ(whole.errors, steps.errors);
}

// Whatever the bytes are, nothing crashes, and each record is one element for the engine, which is
// malformed exactly if it was rejected (IngestAll() checks that).
TEST(Ingest, MutatedBodies) {
  const std::string a = Detection(1, 1), b = Detection(2, 2);
  const std::vector<std::string> seeds = {a + "\n" + b + "\n" + kHeartbeat + "\n",
                                          "[" + a + "," + b + "]", "[\n" + a + ",\n" + b + "\n]\n",
                                          "{\n" + a.substr(1) + "\n", "[" + a + "]\n[" + b + "]\n"};
  const std::string letters = "[]{},:\"\\ \r\n\t0x\xEF\xBB\xBF";
  std::mt19937 random(42);
  auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  for (int round = 0; round < 20'000; ++round) {
    std::string body = seeds[below(seeds.size())];
    for (size_t changes = 1 + below(4); changes > 0 && !body.empty(); --changes) {
      const size_t at = below(body.size());
      switch (below(4)) {
        case 0:
          body.erase(at, 1 + below(20));
          break;
        case 1:
          body.insert(at, 1, letters[below(letters.size())]);
          break;
        case 2:
          body[at] = letters[below(letters.size())];
          break;
        case 3:
          body.insert(at, body.substr(below(body.size()), below(200)));
          break;
      }
    }
    SCOPED_TRACE(body);
    IngestAll(body, 3, 64);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace sightline
