#include "processes/kafka_post.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "config/kafka_options.h"
#include "connectors/kafka/admin.h"
#include "connectors/kafka/kafka_detections.h"
#include "connectors/kafka/producer.h"
#include "ingest/frames.h"
#include "ingest/ingest.h"
#include "operators/decode.h"
#include "processes/kafka_raw_topics.h"

namespace sightline {
namespace {

constexpr Millis kAskTime{2'000};
constexpr Millis kDeliveryTime{10'000};
constexpr size_t kIngestStep = 1 << 20;
// How often the client looks for topics of new locations.
constexpr std::chrono::seconds kLookAgain{3};

class KafkaPost final : public HttpClient {
 public:
  KafkaPost(KafkaOptions kafka, RawTopicName name, const DecodeRules& rules, KafkaMessage message)
      : kafka_(std::move(kafka)), name_(std::move(name)), scratch_(rules) {
    if (message == KafkaMessage::kFrame) frames_.emplace(rules);
  }

  HttpResponse Post(const std::string&, const std::vector<std::string>&,
                    std::string_view body) override {
    if (const Status connected = Connect(); !connected.ok())
      return {.status = 0, .body = {}, .error = connected.message()};
    text_.assign(body).append(kDecodePadding, ' ');
    Ingest ingest({text_.data(), body.size()}, detections_->partitions(), &scratch_);
    while (!ingest.Step(kIngestStep)) continue;
    Ingested done = ingest.Take();
    if (frames_)
      for (PackedRecords& records : done.records) records = frames_->Join(records);
    if (const Status written = Write(std::move(done.records)); !written.ok())
      return {.status = 0, .body = {}, .error = written.message()};
    return {.status = done.status(), .body = done.ToJson(), .error = {}};
  }
  HttpResponse Get(const std::string&) override {
    return {.status = 0, .body = {}, .error = "a topic has no pages"};
  }
  void Cancel() override {
    const std::lock_guard lock(wait_->mutex);
    wait_->cancelled = true;
    wait_->changed.notify_all();
  }

 private:
  // Shared with the delivery report, which may arrive after the post has given up.
  struct Wait {
    std::mutex mutex;
    std::condition_variable changed;
    bool cancelled = false;         // under mutex
    int64_t post = 0;               // the newest; under mutex
    std::optional<Status> outcome;  // of that; under mutex
  };

  Status Connect() {
    const auto now = std::chrono::steady_clock::now();
    if (detections_ != nullptr && (!name_.by_location() || now < look_again_)) return Status::Ok();
    if (admin_ == nullptr) {
      Result<std::unique_ptr<KafkaAdmin>> admin = KafkaAdmin::Open(kafka_, kAskTime);
      if (!admin.ok()) return admin.status();
      admin_ = std::move(admin).value();
    }
    Result<KafkaDetections::Topics> topics = RawTopicsNow(*admin_, name_);
    if (!topics.ok()) return topics.status();
    look_again_ = now + kLookAgain;
    if (detections_ != nullptr) {
      detections_->SetTopics(std::move(topics).value());
      return Status::Ok();
    }
    if (topics.value().empty())
      return Status::Retry(fmt::format("there is no topic '{}'", name_.text()));
    Result<std::unique_ptr<KafkaProducer>> producer =
        KafkaProducer::Open({.kafka = kafka_, .delivery_timeout = kDeliveryTime});
    if (!producer.ok()) return producer.status();
    detections_ = std::make_unique<KafkaDetections>(std::move(producer).value(), name_,
                                                    std::move(topics).value());
    return Status::Ok();
  }

  Status Write(std::vector<PackedRecords> records) {
    std::unique_lock lock(wait_->mutex);
    const int64_t post = ++wait_->post;
    wait_->outcome.reset();
    lock.unlock();
    const bool taken = detections_->Append(std::move(records), [wait = wait_, post](Status status) {
      const std::lock_guard answer_lock(wait->mutex);
      if (wait->post != post) return;  // given up
      wait->outcome = std::move(status);
      wait->changed.notify_all();
    });
    if (!taken)
      return Status::Retry("the brokers have not acknowledged the detections sent before");
    lock.lock();
    wait_->changed.wait(lock, [this] { return wait_->cancelled || wait_->outcome.has_value(); });
    return wait_->outcome.value_or(Status::Retry("cancelled"));
  }

  const KafkaOptions kafka_;
  const RawTopicName name_;
  std::unique_ptr<KafkaAdmin> admin_;
  std::chrono::steady_clock::time_point look_again_;
  IngestScratch scratch_;
  std::optional<JoinFrames> frames_;  // nothing: a message an event
  std::string text_;
  std::unique_ptr<KafkaDetections> detections_;
  const std::shared_ptr<Wait> wait_ = std::make_shared<Wait>();
};

}  // namespace

Result<std::unique_ptr<HttpClient>> OpenKafkaPost(const Settings& options, KafkaMessage message) {
  const Result<KafkaOptions> kafka = MakeKafkaOptions(options.kafka);
  if (!kafka.ok()) return kafka.status();
  const Result<RawTopicName> name = RawTopicName::Parse(options.kafka.topic);
  if (!name.ok()) return name.status();
  // Finds options that librdkafka refuses now rather than with the first post.
  if (const auto tried = KafkaAdmin::Open(kafka.value(), kAskTime); !tried.ok())
    return tried.status();
  return std::unique_ptr<HttpClient>(
      std::make_unique<KafkaPost>(kafka.value(), name.value(), options.pipeline.decode, message));
}

}  // namespace sightline
