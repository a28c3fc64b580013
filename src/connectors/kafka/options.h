// KafkaOptions: how to reach a Kafka cluster and log in to it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/types.h"

namespace sightline {

// The largest message that our clients send: an element has at most 1 MiB, plus its key and
// headers.
inline constexpr int64_t kKafkaMessageBytesMax = 4 << 20;

struct KafkaOptions {
  std::string brokers;  // "host:port,host:port": any brokers of the cluster
  std::string client_id = "sightline";
  // PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL.
  std::string security_protocol = "PLAINTEXT";
  std::string sasl_mechanism;  // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
  std::string sasl_username;
  std::string sasl_password;    // never logged, never in a message
  std::string ssl_ca;           // PEM file; empty: the system's store
  std::string ssl_certificate;  // PEM file of the client, for mutual TLS
  std::string ssl_key;          // PEM file
  std::string ssl_key_password;
  // How much is read ahead of the engine: at most this many bytes a partition.
  int64_t queue_bytes_max = 16 << 20;
  // How long a partition with a full queue is not fetched. librdkafka's default of a second makes a
  // fast reader idle (docs/BENCHMARKS.md).
  Millis queue_backoff{2};
  // The broker aborts a transaction that is not committed within this time. It bounds how long a
  // process that hangs holds up readers of committed records.
  Millis transaction_timeout{10'000};
  // Settings of librdkafka that override ours. For tests (connectors/kafka/mock_cluster.h).
  std::vector<std::pair<std::string, std::string>> settings;
};

}  // namespace sightline
