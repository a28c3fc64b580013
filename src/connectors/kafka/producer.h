// KafkaProducer: writes records to topics and reports when they are durable.
//
// It is idempotent (a retry by the client adds nothing), and all in-sync replicas acknowledge.
// Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/kafka/options.h"

namespace sightline {

struct KafkaRecord {
  std::optional<std::string> key;
  std::string_view value;
};

struct KafkaProducerOptions {
  KafkaOptions kafka;
  int64_t bytes_max = 64 << 20;  // accepted and not yet acknowledged
  Millis delivery_timeout{30'000};
};

class KafkaProducer {
 public:
  // Connects in the background. kStop if the options are refused.
  static Result<std::unique_ptr<KafkaProducer>> Open(const KafkaProducerOptions& options);
  // Answers records that are not acknowledged by then with kRetry.
  ~KafkaProducer();
  KafkaProducer(const KafkaProducer&) = delete;
  KafkaProducer& operator=(const KafkaProducer&) = delete;

  struct Part {
    std::string topic;
    int32_t partition = 0;
    std::vector<KafkaRecord> records;
  };
  // Copies all the records. `done` is called once, on the producer's thread or in its destructor,
  // never within Append(): kOk when all are acknowledged, kRetry when some may not be (then send
  // all of them again). Returns false, and never calls `done`, if there is no room for them now.
  bool Append(const std::vector<Part>& parts, std::function<void(Status)> done);
  // Calls `done` with `status` where Append() would call it, for a caller that finds out by itself
  // that its records cannot be written.
  void Refuse(Status status, std::function<void(Status)> done);
  int64_t bytes() const;  // accepted and not yet acknowledged

 private:
  struct State;
  explicit KafkaProducer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sightline
