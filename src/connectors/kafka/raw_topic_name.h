// RawTopicName: the name of the topic of raw events, or of those of them that are one a location:
// `raw_camera_events_<location>`, where <location> is its oid in decimal, or `other`: there lies
// what belongs to a location that has no topic of its own.
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
  // kStop: no name that Kafka takes, or several places for the location.
  static Result<RawTopicName> Parse(const std::string& text);

  bool by_location() const { return by_location_; }
  // As it was given.
  std::string text() const;
  bool Matches(std::string_view topic) const;
  // Only by location.
  std::string Of(LocationId location) const;
  std::string Other() const;
  // What all of them begin with; the name itself if there is one.
  const std::string& prefix() const { return prefix_; }
  // As a consumer subscribes to it: a name, or an expression that begins with ^.
  std::string Subscription() const;

 private:
  std::string prefix_, suffix_;
  bool by_location_ = false;
};

// Into which of `partitions` a topic's partition is counted, where topics are by location: each
// has its own beginning, so that they spread.
int32_t CountsPartitionOf(std::string_view topic, int32_t partition, int32_t partitions);

}  // namespace sightline
