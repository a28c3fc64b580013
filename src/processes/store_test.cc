#include "processes/store.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "connectors/kafka/mock_cluster.h"
#include "connectors/kafka/writer.h"
#include "history/lake_reader.h"
#include "query/local_queries.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;
using kafka::BusSegment;
using kafka::Insist;
using kafka::MockCluster;
using ::testing::AllOf;
using ::testing::HasSubstr;

const SourcePartition kFrom{"kafka:cluster/raw/id", 0};

class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    std::string name = (fs::temp_directory_path() / "sightline-XXXXXX").native();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    settings_.lake.dir = dir_ / "lake";
    settings_.data = (dir_ / "data").string();
    settings_.lake.roll_interval = Millis{0};
  }
  ~StoreTest() override {
    sink_.reset();
    fs::remove_all(dir_);
  }

  // As `transform` writes sealed segments.
  void Write(int64_t first, int64_t next) {
    if (sink_ == nullptr) {
      sink_ = writer_.OpenSink([] {});
      ASSERT_TRUE(Insist([&] { return sink_->Fence(kFrom, {1}); }).ok());
    }
    const std::vector<Segment> segments = {BusSegment(first, next)};
    ASSERT_TRUE(Insist([&] { return sink_->Commit(kFrom, segments); }).ok());
  }
  std::unique_ptr<Store> Open(std::optional<Offset> hint = std::nullopt) {
    return std::move(Store::Open(settings_, clock_, cluster_.options(), rows_, {},
                                 [hint](int32_t) { return Result<std::optional<Offset>>(hint); }))
        .value();
  }
  // Where the step is when it has stored everything that was written.
  Offset End() const { return {cluster_.Read("lake_rows", 0).back().offset}; }
  // Until it has stored everything, or says what is not to be gone on with.
  Status Run(PartitionStep& step) {
    const Offset end = End();
    Status status = Status::Ok();
    EXPECT_TRUE(kafka::Eventually([&] {
      status = step.Step(false);
      return (!status.ok() && status.code() != StatusCode::kRetry) || step.figures().done >= end;
    })) << status.message();
    return status;
  }
  void ExpectStored(PartitionStep& step) {
    const Status status = Run(step);
    EXPECT_TRUE(status.ok() || status.code() == StatusCode::kRetry) << status.message();
  }
  // What the lake says was counted, and what was received.
  void ExpectInLake(int64_t events) {
    const auto lake = LakeReader::Open({.lake = settings_.lake.dir,
                                        .storage = {},
                                        .cache = {},
                                        .open_queries = OpenLocalQueries({})});
    ASSERT_TRUE(lake.ok()) << lake.status().message();
    EXPECT_EQ(Answer(*lake.value(), "SELECT sum(received) AS n FROM ledger"),
              fmt::format("n\r\n{}\r\n", events));
    EXPECT_EQ(Answer(*lake.value(), "SELECT sum(item_count) AS n FROM item_counts"),
              fmt::format("n\r\n{}\r\n", events));
  }
  static std::string Answer(LakeReader& lake, const std::string& sql) {
    std::string csv;
    const AnswerEnd end = lake.queries().Answer(
        {.request = SqlRequest{sql}, .scope = Scope::All(), .format = ResultFormat::kCsv}, {},
        {.append =
             [&](std::string_view bytes) {
               csv += bytes;
               return Status::Ok();
             },
         .clear = nullptr});
    EXPECT_TRUE(end.status.ok()) << end.status.message();
    return csv;
  }

  fs::path dir_;
  ManualClock machine_clock_{1'763'800'000'000};
  LogClock clock_{machine_clock_};
  MockCluster cluster_;
  const KafkaTopic rows_ = cluster_.MakeTopic("lake_rows", 1);
  Settings settings_;
  KafkaWriter writer_{KafkaWriterOptions{.kafka = cluster_.options(),
                                         .counts_topic = "lake_rows",
                                         .spec_id = "spec",
                                         .group_rows_max = 1}};
  std::unique_ptr<Sink> sink_;
};

TEST_F(StoreTest, StoresEverySegmentOnce) {
  Write(0, 3);
  Write(3, 5);
  {
    const auto store = Open();
    const auto step = store->OpenPartition(0, [] {});
    ExpectStored(*step);
    EXPECT_EQ(step->figures().written, 4) << "a row of counts and one of the ledger, twice";
    EXPECT_EQ(step->figures().refused, 0);
    EXPECT_GE(step->figures().done, End());
    EXPECT_EQ(store->trouble(), "");
  }
  ExpectInLake(5);
  // Another process reads all of it again, and adds what is new.
  Write(5, 9);
  {
    const auto store = Open();
    const auto step = store->OpenPartition(0, [] {});
    ExpectStored(*step);
    EXPECT_EQ(step->figures().commits, 2) << "one a table";
  }
  ExpectInLake(9);
}

TEST_F(StoreTest, SkipsForeignRecords) {
  cluster_.Write("lake_rows", 0, {"not ours"});
  Write(0, 3);
  {
    const auto store = Open();
    const auto step = store->OpenPartition(0, [] {});
    ExpectStored(*step);
    EXPECT_EQ(step->figures().refused, 1);
  }
  ExpectInLake(3);
}

TEST_F(StoreTest, BeginsAtTheHint) {
  Write(0, 3);
  {
    const auto store = Open();
    ExpectStored(*store->OpenPartition(0, [] {}));
  }
  const Offset stored = End();
  Write(3, 5);
  {
    const auto store = Open(stored);
    const auto step = store->OpenPartition(0, [] {});
    ExpectStored(*step);
    EXPECT_EQ(step->figures().written, 2 + 1) << "the rest, and the record that the hint names";
  }
  ExpectInLake(5);
}

// The lake was put back from an older copy, or the hint is another lake's.
TEST_F(StoreTest, ReadsFromTheBeginningWhenTheLakeIsBehindTheHint) {
  Write(0, 3);
  const Offset hint = End();
  Write(3, 5);
  {
    const auto store = Open(hint);
    ExpectStored(*store->OpenPartition(0, [] {}));
  }
  ExpectInLake(5);
}

TEST_F(StoreTest, StopsWhereRetentionHasPassed) {
  Write(0, 3);
  Write(3, 5);
  cluster_.DeleteBefore("lake_rows", 0, End().v - 2);
  const auto store = Open();
  const auto step = store->OpenPartition(0, [] {});
  const Status status = Run(*step);
  EXPECT_EQ(status.code(), StatusCode::kStop);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("topic 'lake_rows' partition 0"),
                                      HasSubstr("the lake does not have them")));
}

TEST_F(StoreTest, DoesNotGoOnWithoutALake) {
  settings_.lake.dir = dir_ / "file";
  fs::create_directories(dir_);
  fclose(fopen(settings_.lake.dir.c_str(), "w"));
  const auto store = Store::Open(settings_, clock_, cluster_.options(), rows_, {}, [](int32_t) {
    return Result<std::optional<Offset>>(std::nullopt);
  });
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.status().code(), StatusCode::kStop);
  EXPECT_THAT(store.status().message(), HasSubstr("file"));
}

}  // namespace
}  // namespace sightline
