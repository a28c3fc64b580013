#include "connectors/kafka/kafka_detections.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "connectors/kafka/mock_cluster.h"

namespace sightline::kafka {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class KafkaDetectionsTest : public testing::Test {
 protected:
  struct Answer {
    Status status;
    std::thread::id thread;
  };

  KafkaDetectionsTest() { cluster_.MakeTopic("raw_7", 1); }

  std::unique_ptr<KafkaDetections> Open(KafkaDetections::Topics topics) {
    auto producer = KafkaProducer::Open({.kafka = cluster_.options()});
    EXPECT_TRUE(producer.ok());
    return std::make_unique<KafkaDetections>(std::move(producer).value(),
                                             RawTopicName::Parse("raw_<location>").value(),
                                             std::move(topics));
  }
  static PackedRecords One(int64_t location, const std::string& value) {
    ByteWriter bytes;
    bytes.String(value);
    return {.count = 1,
            .bytes = bytes.Take(),
            .origins = {DetectionOrigin{.camera = {1}, .location = {location}}}};
  }
  static Answer Append(KafkaDetections& detections, PackedRecords records) {
    std::promise<Answer> done;
    std::vector<PackedRecords> all;
    all.push_back(std::move(records));
    EXPECT_TRUE(detections.Append(std::move(all), [&](Status status) {
      done.set_value({std::move(status), std::this_thread::get_id()});
    }));
    return done.get_future().get();
  }

  MockCluster cluster_;
};

TEST_F(KafkaDetectionsTest, ALocationHasItsTopic) {
  const auto detections = Open({{"raw_7", 1}});
  EXPECT_TRUE(Append(*detections, One(7, "a")).status.ok());
  EXPECT_THAT(cluster_.Values("raw_7", 0), ElementsAre("a"));
}

// The port says so: the caller may hold what `done` needs.
TEST_F(KafkaDetectionsTest, ARefusalIsAnsweredOnTheLogsThread) {
  const auto detections = Open({{"raw_7", 1}});
  const Answer answer = Append(*detections, One(8, "a"));
  EXPECT_EQ(answer.status.code(), StatusCode::kRetry);
  EXPECT_THAT(answer.status.message(), HasSubstr("topics apply"));
  EXPECT_NE(answer.thread, std::this_thread::get_id());
}

}  // namespace
}  // namespace sightline::kafka
