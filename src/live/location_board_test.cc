#include "live/location_board.h"

#include <gtest/gtest.h>

namespace sightline {
namespace {

LocationTotal Of(int64_t oid, std::string name, int64_t total) {
  return {{oid}, std::move(name), total, total > 0 ? "bus" : ""};
}
constexpr auto kTwo = R"([{"oid":"2","name":"a","total":5,"top":"bus"}])";

TEST(LocationBoard, FirstIsASnapshotByNameThenOid) {
  LocationBoard board;
  EXPECT_EQ(board.AllJson(), "[]");
  board.Update({Of(3, "b", 1), Of(1, "b", 1), Of(2, "a", 5)}, true);
  EXPECT_EQ(board.version(), 1u);
  EXPECT_EQ(board.snapshot_version(), 1u);
  EXPECT_EQ(board.AllJson(), R"([{"oid":"2","name":"a","total":5,"top":"bus"},)"
                             R"({"oid":"1","name":"b","total":1,"top":"bus"},)"
                             R"({"oid":"3","name":"b","total":1,"top":"bus"}])");
}

TEST(LocationBoard, OnlyWhatReallyChanged) {
  LocationBoard board;
  board.Update({Of(1, "b", 1), Of(2, "a", 4), Of(3, "c", 0)}, true);
  board.Update({Of(1, "b", 1)}, false);
  EXPECT_EQ(board.version(), 1u);
  EXPECT_EQ(board.ChangedJson(1), "[]");
  board.Update({Of(1, "b", 1), Of(2, "a", 5)}, false);
  EXPECT_EQ(board.version(), 2u);
  EXPECT_EQ(board.snapshot_version(), 1u);
  EXPECT_EQ(board.ChangedJson(1), kTwo);
  EXPECT_EQ(board.ChangedJson(2), "[]");
  board.Update({Of(3, "c", 7)}, false);
  EXPECT_EQ(board.ChangedJson(2), R"([{"oid":"3","name":"c","total":7,"top":"bus"}])");
  EXPECT_EQ(board.ChangedJson(1), R"([{"oid":"2","name":"a","total":5,"top":"bus"},)"
                                  R"({"oid":"3","name":"c","total":7,"top":"bus"}])");
}

TEST(LocationBoard, WhoGoesAwayNeedsASnapshot) {
  LocationBoard board;
  board.Update({Of(1, "b", 1), Of(2, "a", 5)}, true);
  board.Update({Of(2, "a", 5)}, true);
  EXPECT_EQ(board.snapshot_version(), 2u);
  EXPECT_EQ(board.AllJson(), kTwo);
  board.Update({Of(1, "b", 1)}, false);  // and comes back
  EXPECT_EQ(board.snapshot_version(), 2u);
  EXPECT_EQ(board.ChangedJson(2), R"([{"oid":"1","name":"b","total":1,"top":"bus"}])");
}

TEST(LocationBoard, EverythingReadAgainWithoutNewsChangesNothing) {
  LocationBoard board;
  board.Update({Of(2, "a", 5)}, true);
  board.Update({Of(2, "a", 5)}, true);
  EXPECT_EQ(board.snapshot_version(), 1u);
  EXPECT_EQ(board.version(), 1u);
}

}  // namespace
}  // namespace sightline
