#include "connectors/embedded_log/dead_letter_record.h"

#include <gtest/gtest.h>

#include <string>

namespace sightline {
namespace {

DeadLetterRecord Example() {
  return {.from = {"embedded:0123/raw_camera_events", 3},
          .event = {.outcome = Outcome::kFuture,
                    .reason = MalformedReason::kNone,
                    .offset = {1'234'567'890'123},
                    .index = 7,
                    .append_time = {1'763'800'021'123},
                    .bytes = std::string("{\"a\":\0\xff}", 8)}};
}

TEST(DeadLetterRecord, ComesBackAsItWas) {
  const DeadLetterRecord record = Example();
  const Result<DeadLetterRecord> decoded =
      DecodeDeadLetter(EncodeDeadLetter(record.from, record.event));
  ASSERT_TRUE(decoded.ok()) << decoded.status().message();
  EXPECT_EQ(decoded.value(), record);
}

TEST(DeadLetterRecord, KeepsWhatHasNoAppendTime) {
  DeadLetterRecord record = Example();
  record.event.append_time = kNoAppendTime;
  record.event.outcome = Outcome::kMalformed;
  record.event.reason = MalformedReason::kTooLarge;
  const Result<DeadLetterRecord> decoded =
      DecodeDeadLetter(EncodeDeadLetter(record.from, record.event));
  ASSERT_TRUE(decoded.ok()) << decoded.status().message();
  EXPECT_EQ(decoded.value(), record);
}

TEST(DeadLetterRecord, RefusesEveryTruncationAndWhatIsTooLong) {
  const DeadLetterRecord record = Example();
  const std::string bytes = EncodeDeadLetter(record.from, record.event);
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(DecodeDeadLetter(bytes.substr(0, size)).status().code(), StatusCode::kStop) << size;
  EXPECT_EQ(DecodeDeadLetter(bytes + "x").status().code(), StatusCode::kStop);
}

TEST(DeadLetterRecord, RefusesAnotherVersion) {
  std::string bytes = EncodeDeadLetter(Example().from, Example().event);
  bytes[0] = 2;
  EXPECT_EQ(DecodeDeadLetter(bytes).status().code(), StatusCode::kStop);
}

}  // namespace
}  // namespace sightline
