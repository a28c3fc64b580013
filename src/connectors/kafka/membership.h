// KafkaMembership: agrees with other processes, through a consumer group, which partitions this one
// works on (cooperative rebalancing: partitions that stay are not touched).
//
// It is only the agreement. Nothing is read through it, and exactness does not depend on it but on
// fences and compare-and-set. So a process that was believed dead and wakes up does no harm.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/options.h"
#include "model/types.h"

namespace sightline {

struct KafkaPartition {
  std::string topic;
  int32_t partition = 0;
  auto operator<=>(const KafkaPartition&) const = default;
};

struct KafkaMembershipOptions {
  KafkaOptions kafka;
  std::string group;
  // A topic's name; or, if it begins with ^, a regular expression: topics that are created later
  // are found within some seconds.
  std::string topics;
  // Called on the membership's thread. When on_revoked returns, the lost partitions must not be
  // touched any more: the next owner waits for that, as long as this process is believed to be
  // alive.
  std::function<void(const std::vector<KafkaPartition>& partitions)> on_assigned;
  std::function<void(const std::vector<KafkaPartition>& partitions)> on_revoked;
  Millis session_timeout{10'000};  // a process that is silent for this long is believed dead
};

// Thread-safe.
class KafkaMembership {
 public:
  static Result<std::unique_ptr<KafkaMembership>> Join(KafkaMembershipOptions options);
  ~KafkaMembership();  // leaves
  KafkaMembership(const KafkaMembership&) = delete;
  KafkaMembership& operator=(const KafkaMembership&) = delete;

  // Leaves the group, in about 2 s at most. If the group answers, on_revoked is called for what is
  // assigned. Otherwise the client is left behind, so call this only when the process is about to
  // end. Called by the owner.
  void Leave();
  // Reports how far a partition is counted, for those who watch the group's lag. It is sent with
  // the next report, every few seconds. No count depends on it.
  void Report(const KafkaPartition& partition, Offset counted);
  // What any process last reported of a partition; nothing if the group does not know it, or cannot
  // say within some seconds. kRetry until then. Never waits.
  Result<std::optional<Offset>> Reported(const KafkaPartition& partition);
  // Why there is no agreement now; empty if there is one.
  std::string trouble() const;

 private:
  struct State;
  explicit KafkaMembership(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sightline
