#include "batch/count_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

namespace sightline {
namespace {

std::string Good(int id) {
  return R"({"geographical_location_oid":7,"video_camera_oid":71,"detection_oid":)" +
         std::to_string(id) + R"(,"item_name":"bus","timestamp_detected":1763800020000})";
}

std::string Write(const std::string& name, const std::string& text) {
  std::string path = testing::TempDir() + "/count_files_" + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

CountFilesResult Count(std::vector<std::string> paths, int32_t threads = 2) {
  PipelineSpec spec;
  spec.max_age.reset();
  Result<CountFilesResult> counted =
      CountFiles(spec, {.paths = std::move(paths), .threads = threads}, {});
  EXPECT_TRUE(counted.ok()) << counted.status().message();
  return std::move(counted).value();
}

TEST(CountFiles, SaysNothingOfGoodFiles) {
  const CountFilesResult empty = Count({Write("empty", "\n\n")});
  EXPECT_FALSE(empty.NothingAccepted());
  EXPECT_EQ(FormatMalformed(empty), "");
  EXPECT_EQ(FormatMalformed(Count({Write("good", Good(1) + "\n")})), "");
}

TEST(CountFiles, CountsMalformedElementsByReasonAndNamesTheFirst) {
  const std::string good = Write("good", Good(1) + "\n" + Good(2));
  const std::string some = Write("some", "\n" + Good(3) + "\n{}\n17\n{}\n");
  const CountFilesResult result = Count({good, some});
  EXPECT_FALSE(result.NothingAccepted());
  EXPECT_EQ(FormatMalformed(result),
            "warning: malformed elements: 3 of 6 (2 missing_field geographical_location_oid, "
            "1 not_an_object); the first is line 3 of '" +
                some + "'\n");
}

TEST(CountFiles, TheLineIsRightBehindManyBlocksWhateverTheThreads) {
  std::string text;
  while (text.size() < (5 << 20)) text += Good(1) + "\n";
  const auto lines = std::count(text.begin(), text.end(), '\n');
  const std::string path = Write("long", text + "oops\n" + text);
  for (const int32_t threads : {1, 4}) {
    const CountFilesResult result = Count({path}, threads);
    ASSERT_EQ(result.malformed.first.size(), 1u);
    EXPECT_EQ(result.malformed.first[0].number, lines + 1);
  }
}

TEST(CountFiles, TheElementIsRightBehindManyBlocks) {
  std::string text = "[";
  int64_t elements = 0;
  for (; text.size() < (3 << 20); ++elements) text += Good(1) + ",";
  const CountFilesResult result = Count({Write("array", text + "17," + Good(1) + "]")});
  ASSERT_EQ(result.malformed.first.size(), 1u);
  EXPECT_TRUE(result.malformed.first[0].in_array);
  EXPECT_EQ(result.malformed.first[0].number, elements + 1);
}

TEST(CountFiles, NothingAcceptedNamesTheFirstOfThem) {
  const std::string array = Write("array", "[\n1,2,\n{},4,5]");
  const CountFilesResult result = Count({array});
  EXPECT_TRUE(result.NothingAccepted());
  const std::string of = " of '" + array + "'";
  EXPECT_EQ(FormatMalformed(result), "nothing could be decoded: element 1" + of +
                                         ": not_an_object; element 2" + of +
                                         ": not_an_object; element 3" + of +
                                         ": missing_field geographical_location_oid; and 2 more\n");
  EXPECT_EQ(result.counted.Total().of(Outcome::kMalformed), 5);
}

TEST(CountFiles, AHeartbeatIsSomething) {
  const CountFilesResult result = Count(
      {Write("heartbeat",
             "{}\n"
             R"({"video_camera_oid":1,"geographical_location_oid":1,"heartbeat":1763800020000})")});
  EXPECT_FALSE(result.NothingAccepted());
  EXPECT_TRUE(FormatMalformed(result).starts_with("warning: malformed elements: 1 of 2 ("));
}

}  // namespace
}  // namespace sightline
