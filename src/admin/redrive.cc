#include "admin/redrive.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "admin/redrive_cursor.h"
#include "camera/sender.h"
#include "connectors/embedded_log/dead_letter_reader.h"
#include "connectors/embedded_log/log.h"
#include "operators/decode.h"

namespace sightline {
namespace {

constexpr Millis kBackoffMin{100}, kBackoffMax{5'000};
constexpr std::chrono::milliseconds kStopTick{50};

// Reads a partition of a topic entry by entry, up to its end at the start.
class TopicReader {
 public:
  TopicReader(DeadLetterReader& reader, std::string_view topic, int32_t partition)
      : reader_(reader), topic_(topic), partition_(partition) {}

  Status Start() {
    const auto held = reader_.Look(topic_, partition_);
    if (!held.ok()) return held.status();
    next_ = oldest_ = held.value().oldest;
    end_ = held.value().next;
    return Fill();
  }
  // Null at the end; valid until Pop().
  const DeadLetterReader::Entry* Peek() const {
    return entries_.empty() ? nullptr : &entries_.front();
  }
  Status Pop() {
    entries_.pop_front();
    return entries_.empty() ? Fill() : Status::Ok();
  }
  std::string_view topic() const { return topic_; }
  Offset oldest() const { return oldest_; }

 private:
  Status Fill() {
    while (entries_.empty() && next_ < end_) {
      auto read = reader_.Read(topic_, partition_, next_, end_);
      if (!read.ok()) return read.status();
      if (read.value().empty()) {  // retention has removed the entry meanwhile
        const auto held = reader_.Look(topic_, partition_);
        if (!held.ok()) return held.status();
        if (held.value().oldest <= next_)
          return Status::Stop(
              fmt::format("topic '{}' partition {} has no record {}", topic_, partition_, next_.v));
        next_ = held.value().oldest;
        continue;
      }
      next_ = read.value().back().offset;
      next_.v += 1;
      std::move(read.value().begin(), read.value().end(), std::back_inserter(entries_));
    }
    return Status::Ok();
  }

  DeadLetterReader& reader_;
  const std::string topic_;
  const int32_t partition_;
  Offset oldest_, next_, end_;
  std::deque<DeadLetterReader::Entry> entries_;
};

// A line of a body, and the place from which it comes.
struct Line {
  std::string text;
  OffsetSet* sent = nullptr;  // the set of its topic and partition
  Offset offset;
};

class Redrive {
 public:
  Redrive(const RedriveOptions& options, const RedrivePorts& ports, RedriveResult& result,
          DeadLetterReader& reader, RedriveCursor& cursor)
      : options_(options),
        ports_(ports),
        result_(result),
        reader_(reader),
        cursor_(cursor),
        backoff_(kBackoffMin, kBackoffMax, std::random_device()()) {}

  Status Run() {
    for (int32_t p = 0; p < reader_.partitions(); ++p) RETURN_IF_ERROR(RunPartition(p));
    RETURN_IF_ERROR(Send());
    return options_.dry_run ? Status::Ok() : cursor_.Save();
  }

 private:
  Status RunPartition(int32_t partition);
  Status Take(const DeadLetterReader::Entry& entry, OffsetSet& sent);
  Status Send();
  Status Deliver(std::span<const Line> lines);
  Result<Sender::Answer> PostUntilAnswered(const std::string& body);
  Status Wait(Millis length) const;

  const RedriveOptions& options_;
  const RedrivePorts& ports_;
  RedriveResult& result_;
  DeadLetterReader& reader_;
  RedriveCursor& cursor_;
  PostBackoff backoff_;
  // Reads whatever any pipeline may have read. Times are not used here: every integer is a valid
  // time in ns, and any time zone will do.
  Decoder decoder_{{.timestamp_unit = TimeUnit::kNanos, .timestamp_zone = "UTC"}};
  std::vector<Event> decoded_;
  std::vector<Line> lines_;
  int64_t lines_bytes_ = 0;
  bool away_ = false;
};

// Merges both topics, so that events are sent in the order in which they first arrived.
Status Redrive::RunPartition(int32_t partition) {
  std::vector<std::unique_ptr<TopicReader>> topics;
  if (options_.future)
    topics.push_back(std::make_unique<TopicReader>(reader_, kDeadLettersTopic, partition));
  if (options_.too_late)
    topics.push_back(std::make_unique<TopicReader>(reader_, kLateDetectionsTopic, partition));
  for (const auto& topic : topics) {
    RETURN_IF_ERROR(topic->Start());
    // Offsets that retention has removed become one range, so that the set stays small.
    cursor_.Of(topic->topic(), partition).Add({0}, topic->oldest());
  }
  for (;;) {
    TopicReader* first = nullptr;
    const auto place = [](const TopicReader& topic) {
      const DeadLetter& event = topic.Peek()->record.event;
      return std::pair(event.offset, event.index);
    };
    for (const auto& topic : topics)
      if (topic->Peek() != nullptr && (first == nullptr || place(*topic) < place(*first)))
        first = topic.get();
    if (first == nullptr) return Status::Ok();
    RETURN_IF_ERROR(Take(*first->Peek(), cursor_.Of(first->topic(), partition)));
    RETURN_IF_ERROR(first->Pop());
  }
}

Status Redrive::Take(const DeadLetterReader::Entry& entry, OffsetSet& sent) {
  const DeadLetter& event = entry.record.event;
  if (event.outcome != Outcome::kFuture && event.outcome != Outcome::kTooLate) {
    sent.Add(entry.offset, {entry.offset.v + 1});  // never sent; marking it joins ranges
    return Status::Ok();
  }
  if (event.append_time < options_.from || event.append_time >= options_.to) return Status::Ok();
  if (!options_.again && sent.Contains(entry.offset)) {
    ++result_.before;
    return Status::Ok();
  }
  Line line{.text = event.bytes, .sent = &sent, .offset = entry.offset};
  // Line breaks inside an element of an array are white space.
  std::replace_if(
      line.text.begin(), line.text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  const std::string padded = line.text + std::string(kDecodePadding, '\0');
  decoded_.clear();
  decoder_.Clear();
  decoder_.Decode(std::string_view(padded).substr(0, line.text.size()), decoded_);
  if (decoded_.size() != 1 || decoded_[0].kind != Event::Kind::kDetection) {
    if (event.bytes.size() < kDeadLetterBytesMax)
      return Status::Stop(
          fmt::format("the dead letter of partition {} offset {} can no longer be decoded",
                      entry.record.from.partition, event.offset.v));
    ++result_.cut;
    return Status::Ok();
  }
  RedriveGroup& group = result_.groups[{event.outcome, decoded_[0].location, decoded_[0].camera}];
  if (group.events++ == 0) group.first = event.append_time;
  group.first = std::min(group.first, event.append_time);
  group.last = std::max(group.last, event.append_time);
  ++result_.chosen;
  if (options_.dry_run) return Status::Ok();
  const auto size = static_cast<int64_t>(line.text.size()) + 1;
  if (!lines_.empty() && (lines_bytes_ + size > options_.batch_bytes_max ||
                          static_cast<int64_t>(lines_.size()) >= options_.batch_events_max))
    RETURN_IF_ERROR(Send());
  lines_bytes_ += size;
  lines_.push_back(std::move(line));
  return Status::Ok();
}

Status Redrive::Send() {
  if (lines_.empty()) return Status::Ok();
  RETURN_IF_ERROR(Deliver(lines_));
  lines_.clear();
  lines_bytes_ = 0;
  if (ports_.progress) ports_.progress(result_);
  return Status::Ok();
}

// Sends the lines, in halves if the body is too large. Saves the cursor after each answer, before
// it sends more.
Status Redrive::Deliver(std::span<const Line> lines) {
  std::string body;
  for (const Line& line : lines) body.append(line.text).push_back('\n');
  const Result<Sender::Answer> answer = PostUntilAnswered(body);
  if (!answer.ok()) return answer.status();
  if (answer.value().kind == Sender::Answer::Kind::kTooLarge && lines.size() > 1) {
    RETURN_IF_ERROR(Deliver(lines.first(lines.size() / 2)));
    return Deliver(lines.subspan(lines.size() / 2));
  }
  if (answer.value().kind != Sender::Answer::Kind::kTaken)
    return Status::Stop(fmt::format(
        "'{}' refuses {} events, and would refuse them again; they stay in their topics",
        options_.url, lines.size()));
  const auto events = static_cast<int64_t>(lines.size());
  result_.sent += events;
  result_.rejected += answer.value().rejected;
  result_.accepted += events - answer.value().rejected;
  for (const Line& line : lines) line.sent->Add(line.offset, {line.offset.v + 1});
  return cursor_.Save();
}

Result<Sender::Answer> Redrive::PostUntilAnswered(const std::string& body) {
  for (;;) {
    if (ports_.stop != nullptr && *ports_.stop)
      return Status::Retry("stopped; the next run sends the rest");
    const HttpResponse response = ports_.client->Post(options_.url + "/v1/detections",
                                                      {"Content-Type: application/x-ndjson"}, body);
    Sender::Answer answer = Sender::Classify(response);
    if (answer.kind != Sender::Answer::Kind::kAway) {
      backoff_.Reset();
      away_ = false;
      return answer;
    }
    if (!std::exchange(away_, true) && ports_.note)
      ports_.note(fmt::format("'{}' does not accept events now ({}): trying again until it does",
                              options_.url, answer.reason));
    RETURN_IF_ERROR(Wait(
        std::max(backoff_.Next(), std::min(response.retry_after.value_or(Millis{}), kBackoffMax))));
  }
}

Status Redrive::Wait(Millis length) const {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(length.v);
  while (std::chrono::steady_clock::now() < until && (ports_.stop == nullptr || !*ports_.stop))
    std::this_thread::sleep_for(kStopTick);
  return Status::Ok();
}

}  // namespace

Status RunRedrive(const RedriveOptions& options, const RedrivePorts& ports, RedriveResult* result) {
  const auto reader = DeadLetterReader::Open(options.data);
  if (!reader.ok()) return reader.status();
  Result<RedriveCursor> cursor =
      RedriveCursor::Open(options.data, reader.value()->log_id(), options.dry_run);
  if (!cursor.ok()) return cursor.status();
  return Redrive(options, ports, *result, *reader.value(), cursor.value()).Run();
}

}  // namespace sightline
