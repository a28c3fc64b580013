// RawTopicName: the name of the topic of raw events, or of several topics with one location each:
// `raw_camera_events_<location>`. There, <location> is the location's oid in decimal, or `other`
// for the locations that have no topic of their own.
//
// A value; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

class RawTopicName {
 public:
  // kStop if Kafka does not accept the name, or if it has several places for the location.
  static Result<RawTopicName> Parse(const std::string& text);

  bool by_location() const { return by_location_; }
  // The text that was parsed.
  std::string text() const;
  bool Matches(std::string_view topic) const;
  // The topic of a location, and the one for the others. Only if by_location().
  std::string Of(LocationId location) const;
  std::string Other() const;
  // What all the topics begin with; the whole name if there is only one.
  const std::string& prefix() const { return prefix_; }
  // What a consumer subscribes to: a name, or an expression that begins with ^.
  std::string Subscription() const;

 private:
  std::string prefix_, suffix_;
  bool by_location_ = false;
};

// Into which of `partitions` a partition of `topic` is counted if topics are by location. Each
// topic begins at another partition, so that they spread.
int32_t CountsPartitionOf(std::string_view topic, int32_t partition, int32_t partitions);

}  // namespace sightline
