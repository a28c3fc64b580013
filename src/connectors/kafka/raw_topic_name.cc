#include "connectors/kafka/raw_topic_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/murmur2.h"

namespace sightline {
namespace {

constexpr std::string_view kLocation = "<location>";
constexpr std::string_view kOther = "other";
constexpr size_t kNameMax = 249;       // Kafka's
constexpr size_t kLocationChars = 20;  // of the longest oid

bool IsName(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

// True for a 64-bit integer written the way we write it: without leading zeros, plus sign or -0.
bool IsOid(std::string_view text) {
  int64_t oid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), oid);
  return error == std::errc() && end == text.data() + text.size() && fmt::format("{}", oid) == text;
}

}  // namespace

Result<RawTopicName> RawTopicName::Parse(const std::string& text) {
  RawTopicName name;
  const size_t at = text.find(kLocation);
  name.by_location_ = at != std::string::npos;
  name.prefix_ = text.substr(0, at);
  if (name.by_location_) name.suffix_ = text.substr(at + kLocation.size());
  const size_t size =
      name.prefix_.size() + name.suffix_.size() + (name.by_location_ ? kLocationChars : 0);
  if (text.empty() || text == "." || text == ".." || size > kNameMax || !IsName(name.prefix_) ||
      !IsName(name.suffix_))
    return Status::Stop(
        fmt::format("kafka.topic '{}' is not a topic name: use up to {} of a-z A-Z 0-9 . _ - and "
                    "at most one {} for one topic per location",
                    text, kNameMax, kLocation));
  // Without a prefix it would match every topic of the cluster.
  if (name.by_location_ && name.prefix_.empty())
    return Status::Stop(fmt::format(
        "kafka.topic '{}' must begin with the prefix that its topics have in common", text));
  return name;
}

std::string RawTopicName::text() const {
  return by_location_ ? fmt::format("{}{}{}", prefix_, kLocation, suffix_) : prefix_;
}

bool RawTopicName::Matches(std::string_view topic) const {
  if (!by_location_) return topic == prefix_;
  if (topic.size() <= prefix_.size() + suffix_.size() || !topic.starts_with(prefix_) ||
      !topic.ends_with(suffix_))
    return false;
  const std::string_view location =
      topic.substr(prefix_.size(), topic.size() - prefix_.size() - suffix_.size());
  return location == kOther || IsOid(location);
}

std::string RawTopicName::Of(LocationId location) const {
  return fmt::format("{}{}{}", prefix_, location.v, suffix_);
}

std::string RawTopicName::Other() const { return fmt::format("{}{}{}", prefix_, kOther, suffix_); }

std::string RawTopicName::Subscription() const {
  if (!by_location_) return prefix_;
  // Of the characters that a name may contain, only the dot has a meaning in an expression.
  const auto quoted = [](const std::string& part) {
    std::string text;
    for (const char c : part) text += c == '.' ? std::string("\\.") : std::string(1, c);
    return text;
  };
  return fmt::format("^{}(-?[0-9]+|{}){}$", quoted(prefix_), kOther, quoted(suffix_));
}

int32_t CountsPartitionOf(std::string_view topic, int32_t partition, int32_t partitions) {
  const auto begin = static_cast<int64_t>(Murmur2(topic) & 0x7fffffffu);
  return static_cast<int32_t>((begin + partition) % partitions);
}

}  // namespace sightline
