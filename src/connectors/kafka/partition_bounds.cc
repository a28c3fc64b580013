#include "connectors/kafka/partition_bounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "connectors/kafka/client.h"

namespace sightline {
namespace {

using Clock = std::chrono::steady_clock;

// Which question an answer belongs to; the opaque value of its request.
enum class Question : uintptr_t { kEarliest = 1, kEnd, kOldest, kNewest, kFrom };
constexpr int64_t kQuestions = 5;

void Take(Question question, const kafka::OffsetAnswer& answer, PartitionBounds& bounds) {
  const bool found = answer.offset >= 0 && answer.timestamp >= 0;
  switch (question) {
    case Question::kEarliest:
      bounds.earliest = {std::max<int64_t>(0, answer.offset)};
      break;
    case Question::kEnd:
      bounds.end = {std::max<int64_t>(0, answer.offset)};
      break;
    case Question::kOldest:
      if (found) bounds.oldest = {answer.timestamp};
      break;
    case Question::kNewest:
      if (found) bounds.newest = {answer.timestamp};
      break;
    case Question::kFrom:
      bounds.from = {answer.offset};
      break;
  }
}

}  // namespace

Result<std::vector<PartitionBounds>> ReadPartitionBounds(const KafkaOptions& options,
                                                         const std::string& topic,
                                                         int32_t partitions, AppendTime from,
                                                         Millis timeout) {
  Result<kafka::Handle> made =
      kafka::MakeClient(RD_KAFKA_CONSUMER, options, kafka::ReaderSettings(options));
  if (!made.ok()) return made.status();
  rd_kafka_t* const client = made.value().get();
  const kafka::Queue queue(rd_kafka_queue_new(client));
  const int timeout_ms = static_cast<int>(timeout.v);
  for (int32_t p = 0; p < partitions; ++p)
    for (const auto& [question, spec] :
         {std::pair(Question::kEarliest, int64_t{RD_KAFKA_OFFSET_SPEC_EARLIEST}),
          std::pair(Question::kEnd, int64_t{RD_KAFKA_OFFSET_SPEC_LATEST}),
          std::pair(Question::kOldest, int64_t{0}),
          std::pair(Question::kNewest, int64_t{RD_KAFKA_OFFSET_SPEC_MAX_TIMESTAMP}),
          std::pair(Question::kFrom, std::max<int64_t>(0, from.v))})
      kafka::AskOffset(client, topic, p, spec, RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED, timeout_ms,
                       queue.get(), reinterpret_cast<void*>(question));
  std::vector<PartitionBounds> bounds(static_cast<size_t>(partitions));
  const Clock::time_point until = Clock::now() + std::chrono::milliseconds(timeout.v);
  // All questions of all partitions are under way at once, and the answers arrive in any order.
  for (int64_t left = kQuestions * partitions; left > 0; --left) {
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    const kafka::Event event(
        rd_kafka_queue_poll(queue.get(), std::max(1, static_cast<int>(wait.count()))));
    if (event == nullptr) {
      const std::string trouble = kafka::TakeTrouble(client);
      return Status::Retry(fmt::format("topic '{}': no answer about its offsets{}{}", topic,
                                       trouble.empty() ? "" : ": ", trouble));
    }
    const Result<kafka::OffsetAnswer> answer = kafka::ReadOffsetAnswer(event.get());
    if (!answer.ok()) return answer.status();
    Take(static_cast<Question>(reinterpret_cast<uintptr_t>(rd_kafka_event_opaque(event.get()))),
         answer.value(), bounds[static_cast<size_t>(answer.value().partition)]);
  }
  for (PartitionBounds& b : bounds)
    // There is no record of the requested time or later.
    if (b.from.v < 0) b.from = b.end;
  return bounds;
}

}  // namespace sightline
