// KafkaMembership: which partitions of its topics this process works on, agreed on with the others
// by a consumer group (cooperative: those that stay are not touched).
//
// Only the agreement: nothing is read through it, and exactness does not stand on it - fences and
// compare-and-set do - so a process that was believed dead and wakes does no harm.
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
  // A topic's name; or, if it begins with ^, an expression: topics that are made later are found
  // within some seconds.
  std::string topics;
  // On the membership's thread. What is lost must not be touched any more when the call returns:
  // the next owner waits for it, as long as this process is believed to be alive.
  std::function<void(const std::vector<KafkaPartition>& partitions)> on_assigned;
  std::function<void(const std::vector<KafkaPartition>& partitions)> on_revoked;
  Millis session_timeout{10'000};  // a process that is not heard of for so long is believed dead
};

// Thread-safe.
class KafkaMembership {
 public:
  static Result<std::unique_ptr<KafkaMembership>> Join(KafkaMembershipOptions options);
  ~KafkaMembership();  // leaves
  KafkaMembership(const KafkaMembership&) = delete;
  KafkaMembership& operator=(const KafkaMembership&) = delete;

  // Leaves the group, in about 2 s at most: on_revoked is called for what is assigned, where the
  // group answers. Where it does not, its client is left behind: this is for a process that ends.
  // Called by the owner.
  void Leave();
  // Tells the group how far a partition is counted, for those who watch its lag: sent with the next
  // report, every few seconds. No count depends on it.
  void Report(const KafkaPartition& partition, Offset counted);
  // What was reported last of a partition, by whatever process; nothing if the group does not know
  // or cannot say within some seconds. kRetry until then; never waits.
  Result<std::optional<Offset>> Reported(const KafkaPartition& partition);
  // Why there is no agreement now; empty: there is one.
  std::string trouble() const;

 private:
  struct State;
  explicit KafkaMembership(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sightline
