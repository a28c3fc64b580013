#include "connectors/kafka/topic_watch.h"

#include <fmt/format.h>

#include <optional>

#include "base/log.h"

namespace sightline {
namespace {

constexpr std::chrono::seconds kInterval{5};

}  // namespace

Status TopicWatch::Look() {
  if (std::chrono::steady_clock::now() - asked_ < kInterval) return Status::Ok();
  std::string trouble;
  Status status = Ask(trouble);
  asked_ = std::chrono::steady_clock::now();
  const std::lock_guard lock(mutex_);
  if (trouble_ != trouble && !trouble.empty()) LogWarning(trouble);
  if (!trouble_.empty() && trouble.empty()) LogInfo("Kafka answers again");
  trouble_ = std::move(trouble);
  return status;
}

Status TopicWatch::Ask(std::string& trouble) {
  for (const KafkaTopic& topic : topics_) {
    const Result<std::optional<KafkaTopicState>> found = admin_->Describe(topic.name);
    if (!found.ok()) {
      trouble = "Kafka does not answer: " + found.status().message();
      return Status::Ok();
    }
    if (!found.value()) {
      trouble = fmt::format("topic '{}' is gone", topic.name);
      return Status::Ok();
    }
    if (found.value()->id != topic.id)
      return Status::Stop(
          fmt::format("topic '{}' was deleted and made again: it is another source; start again to "
                      "go on with it",
                      topic.name));
  }
  return Status::Ok();
}

std::string TopicWatch::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

}  // namespace sightline
