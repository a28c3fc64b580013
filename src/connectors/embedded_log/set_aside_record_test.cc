#include "connectors/embedded_log/set_aside_record.h"

#include <gtest/gtest.h>

#include <string>

namespace sightline {
namespace {

SetAsideRecord Example() {
  return {.from = {"embedded:0123/raw_camera_events", 3},
          .event = {.outcome = Outcome::kFuture,
                    .reason = MalformedReason::kNone,
                    .offset = {1'234'567'890'123},
                    .index = 7,
                    .append_time = {1'763'800'021'123},
                    .bytes = std::string("{\"a\":\0\xff}", 8)}};
}

TEST(SetAsideRecord, ComesBackAsItWas) {
  const SetAsideRecord record = Example();
  const Result<SetAsideRecord> decoded = DecodeSetAside(EncodeSetAside(record.from, record.event));
  ASSERT_TRUE(decoded.ok()) << decoded.status().message();
  EXPECT_EQ(decoded.value(), record);
}

TEST(SetAsideRecord, KeepsWhatHasNoAppendTime) {
  SetAsideRecord record = Example();
  record.event.append_time = kNoAppendTime;
  record.event.outcome = Outcome::kMalformed;
  record.event.reason = MalformedReason::kTooLarge;
  const Result<SetAsideRecord> decoded = DecodeSetAside(EncodeSetAside(record.from, record.event));
  ASSERT_TRUE(decoded.ok()) << decoded.status().message();
  EXPECT_EQ(decoded.value(), record);
}

TEST(SetAsideRecord, RefusesEveryTruncationAndWhatIsTooLong) {
  const SetAsideRecord record = Example();
  const std::string bytes = EncodeSetAside(record.from, record.event);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(DecodeSetAside(bytes.substr(0, size)).status().code(), StatusCode::kStop) << size;
  EXPECT_EQ(DecodeSetAside(bytes + "x").status().code(), StatusCode::kStop);
}

TEST(SetAsideRecord, RefusesAnotherVersion) {
  std::string bytes = EncodeSetAside(Example().from, Example().event);
  bytes[0] = 2;
  EXPECT_EQ(DecodeSetAside(bytes).status().code(), StatusCode::kStop);
}

}  // namespace
}  // namespace sightline
