#include "live/view_history.h"

#include <gtest/gtest.h>

namespace sightline {
namespace {

constexpr int64_t kNoLimit = INT64_MAX;
SseMessage Text(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

std::string Taken(const ViewHistory& log, ViewHistory::Cursor& cursor) {
  const bool has = log.HasFor(cursor);
  std::string all;
  for (const SseMessage& message : log.Take(cursor)) all += (all.empty() ? "" : " ") + *message;
  EXPECT_EQ(has, !all.empty());
  EXPECT_FALSE(log.HasFor(cursor));
  return all;
}

class ViewHistoryTest : public testing::Test {
 protected:
  void Append(int n) {
    for (int i = 0; i < n; ++i) log_.Append(Text(std::to_string(log_.seq() + 1)), kNoLimit);
  }
  ViewHistory log_{100, 4};
};

TEST_F(ViewHistoryTest, NewViewerGetsTheSnapshotThenWhatFollows) {
  auto cursor = log_.Resume(std::nullopt);
  EXPECT_TRUE(log_.NeedsSnapshot(cursor));
  EXPECT_EQ(Taken(log_, cursor), "");
  log_.SetSnapshot(Text("s100"));
  log_.Serve(cursor);
  EXPECT_FALSE(log_.NeedsSnapshot(cursor));
  Append(2);
  EXPECT_EQ(Taken(log_, cursor), "s100 101 102");
  EXPECT_EQ(Taken(log_, cursor), "");
  Append(1);
  EXPECT_EQ(Taken(log_, cursor), "103");
}

TEST_F(ViewHistoryTest, SnapshotIsServedUntilTheNextMessage) {
  log_.SetSnapshot(Text("s100"));
  auto early = log_.Resume(std::nullopt);
  EXPECT_EQ(Taken(log_, early), "s100");
  Append(1);
  auto late = log_.Resume(std::nullopt);
  EXPECT_EQ(Taken(log_, late), "");
}

TEST_F(ViewHistoryTest, ResumeTakesWhatIsMissing) {
  Append(6);  // 103..106 are kept
  auto a = log_.Resume(104);
  EXPECT_EQ(Taken(log_, a), "105 106");
  auto b = log_.Resume(106);
  EXPECT_EQ(Taken(log_, b), "");
  EXPECT_FALSE(log_.NeedsSnapshot(b));
  auto c = log_.Resume(102);
  EXPECT_EQ(Taken(log_, c), "103 104 105 106");
  for (int64_t seq : {101, 107, 0, -1}) {
    EXPECT_TRUE(log_.NeedsSnapshot(log_.Resume(seq))) << seq;
  }
  EXPECT_TRUE(log_.NeedsSnapshot(log_.Resume(INT64_MAX)));
}

TEST_F(ViewHistoryTest, SlowViewerGetsOneSnapshotOfTheLatest) {
  Append(1);
  auto cursor = log_.Resume(101);
  Append(5);  // 102 has fallen out
  EXPECT_TRUE(log_.NeedsSnapshot(cursor));
  EXPECT_EQ(Taken(log_, cursor), "");
  log_.SetSnapshot(Text("s106"));
  EXPECT_EQ(Taken(log_, cursor), "s106");
  Append(1);
  EXPECT_EQ(Taken(log_, cursor), "107");
}

TEST_F(ViewHistoryTest, SnapshotThatWasNotTakenInTimeIsReplaced) {
  auto cursor = log_.Resume(std::nullopt);
  log_.SetSnapshot(Text("s100"));
  log_.Serve(cursor);
  Append(6);
  EXPECT_TRUE(log_.NeedsSnapshot(cursor));
  log_.SetSnapshot(Text("s106"));
  EXPECT_EQ(Taken(log_, cursor), "s106");
}

TEST_F(ViewHistoryTest, HeartbeatsComeInTheirPlaceAndOnce) {
  auto cursor = log_.Resume(100);
  log_.SetHeartbeat(Text("h100"));
  EXPECT_EQ(Taken(log_, cursor), "h100");
  EXPECT_EQ(Taken(log_, cursor), "");
  Append(1);
  log_.SetHeartbeat(Text("h101"));
  Append(1);
  EXPECT_EQ(Taken(log_, cursor), "101 h101 102");
  log_.SetHeartbeat(Text("h102a"));
  log_.SetHeartbeat(Text("h102b"));
  EXPECT_EQ(Taken(log_, cursor), "h102b");
}

TEST_F(ViewHistoryTest, HeartbeatOlderThanTheSnapshotIsNotSent) {
  auto cursor = log_.Resume(std::nullopt);
  log_.SetHeartbeat(Text("h100"));
  EXPECT_EQ(Taken(log_, cursor), "");
  Append(1);
  log_.SetSnapshot(Text("s101"));
  log_.Serve(cursor);
  EXPECT_EQ(Taken(log_, cursor), "s101");
  auto behind = log_.Resume(100);
  log_.SetHeartbeat(Text("h101"));
  Append(4);  // 101 has fallen out
  EXPECT_EQ(Taken(log_, behind), "");
}

TEST_F(ViewHistoryTest, BytesAreBoundedButTheNewestStays) {
  log_.Append(Text(std::string(100, 'a')), 250);
  log_.Append(Text(std::string(100, 'b')), 250);
  EXPECT_EQ(log_.bytes(), 200);
  log_.Append(Text(std::string(100, 'c')), 250);
  EXPECT_EQ(log_.bytes(), 200);
  EXPECT_TRUE(log_.NeedsSnapshot(log_.Resume(100)));
  EXPECT_FALSE(log_.NeedsSnapshot(log_.Resume(101)));
  log_.Append(Text(std::string(1'000, 'd')), 250);
  EXPECT_EQ(log_.bytes(), 1'000);
  EXPECT_FALSE(log_.NeedsSnapshot(log_.Resume(103)));
}

}  // namespace
}  // namespace sightline
