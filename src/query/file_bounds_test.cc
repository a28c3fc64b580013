#include "query/file_bounds.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "query/local_queries.h"

namespace sightline {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr Day kOneDay{20'000}, kNextDay{20'001};

FileList TwoDays() {
  std::vector<LakeFile> files;
  for (const Day day : {kOneDay, kNextDay})
    for (const int64_t location : {1, 2})
      files.push_back({.path = fmt::format("{}-{}", location, day.v),
                       .bytes = location,
                       .location = LocationId{location},
                       .day = day});
  return {"/cache/item_count_increments", files};
}

std::vector<std::string> Paths(const ViewBounds& views, const Scope& scope, bool of_ledger) {
  std::vector<std::string> paths;
  for (const LakeFile& file : FilesFor(TwoDays(), views, scope, of_ledger))
    paths.push_back(file.path);
  return paths;
}

TEST(FileBoundsTest, FilesAreThoseOfAllViewsOfTheTable) {
  const ReadBounds day{.first_day = kOneDay, .end_day = kNextDay};
  const ReadBounds one{.locations = std::set<LocationId>{{2}}};
  EXPECT_THAT(Paths({{"item_counts", day}}, Scope::All(), false),
              ElementsAre("1-20000", "2-20000"));
  EXPECT_THAT(Paths({{"item_counts", one}}, Scope::All(), false),
              ElementsAre("2-20000", "2-20001"));
  EXPECT_EQ(
      Paths({{"item_counts", day}, {"item_count_increments", one}}, Scope::All(), false).size(),
      4U);
  EXPECT_THAT(Paths({{"item_counts", day}}, {std::set<LocationId>{{1}}}, false),
              ElementsAre("1-20000"));
  EXPECT_THAT(Paths({{"item_counts", day}, {"locations", {}}}, Scope::All(), true), IsEmpty());
  EXPECT_EQ(Paths({{"ledger", {}}}, Scope::All(), true).size(), 4U);
}

// A lake whose files have to be fetched, and cannot be.
class NoFiles final : public LakeSource, public FileKeeper {
 public:
  explicit NoFiles(Holding answer) : answer_(std::move(answer)) {
    state_->counts_files = TwoDays();
  }
  Result<std::shared_ptr<const LakeState>> Current() override {
    return std::shared_ptr<const LakeState>(state_);
  }
  FileKeeper* copies() override { return this; }
  Holding Hold(const std::vector<NeededFile>& files, const HoldLimits& limits) override {
    for (const NeededFile& file : files) asked.push_back(file.path);
    EXPECT_TRUE(limits.go_on().ok());
    return answer_;
  }
  void Distrust(const std::string&) override {}
  std::vector<Metric> metrics() const override { return {}; }
  std::vector<std::string> asked;

 private:
  const Holding answer_;
  const std::shared_ptr<LakeState> state_ = std::make_shared<LakeState>();
};

AnswerEnd Ask(const std::shared_ptr<NoFiles>& source) {
  const auto queries = LocalQueries::Create(source, {.directories = {"/cache"}});
  EXPECT_TRUE(queries.ok());
  return queries.value()->Answer(
      {.request = SqlRequest{"SELECT * FROM item_counts WHERE geographical_location_oid = 2 AND "
                             "window_start >= '2024-10-05' AND window_start < '2024-10-06'"},
       .scope = Scope::All()},
      {}, {.append = [](std::string_view) { return Status::Ok(); }, .clear = nullptr});
}

TEST(FileBoundsTest, AQuestionAsksForItsFilesAndSaysWhyItDoesNotGetThem) {
  const auto away = std::make_shared<NoFiles>(Holding{.status = Status::Retry("it is away")});
  const AnswerEnd retry = Ask(away);
  EXPECT_EQ(retry.status.code(), StatusCode::kRetry);
  EXPECT_EQ(retry.status.message(), "it is away");
  EXPECT_EQ(retry.limit, QueryLimit::kNone);
  EXPECT_THAT(away->asked, ElementsAre("item_count_increments/2-20001"));
  const AnswerEnd large = Ask(
      std::make_shared<NoFiles>(Holding{.status = Status::Stop("too much"), .too_large = true}));
  EXPECT_EQ(large.status.message(), "too much");
  EXPECT_EQ(large.limit, QueryLimit::kMemory);
}

}  // namespace
}  // namespace sightline
