// KafkaOptions: how to reach a Kafka cluster and log in there.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "model/types.h"

namespace sightline {

// Of one message that a client of ours sends: an element has at most 1 MiB, its key and headers
// come on top.
inline constexpr int64_t kKafkaMessageBytesMax = 4 << 20;

struct KafkaOptions {
  std::string brokers;  // "host:port,host:port": any of the cluster's
  std::string client_id = "sightline";
  // PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL.
  std::string security_protocol = "PLAINTEXT";
  std::string sasl_mechanism;  // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
  std::string sasl_username;
  std::string sasl_password;    // never logged, never in a message
  std::string ssl_ca;           // PEM file; empty: the system's
  std::string ssl_certificate;  // PEM file of the client, for mutual TLS
  std::string ssl_key;          // PEM file
  std::string ssl_key_password;
  // What is read ahead of the engine: at most so many bytes a partition.
  int64_t queue_bytes_max = 16 << 20;
  // How long a partition whose queue is full is not asked for. librdkafka's default of a second
  // idles a fast reader (docs/BENCHMARKS.md).
  Millis queue_backoff{2};
  // A transaction that is not committed so long is aborted by the broker: it bounds how long a
  // process that stopped holds up those who read committed.
  Millis transaction_timeout{10'000};
  // Settings of librdkafka, laid over ours: for tests (connectors/kafka/mock_cluster.h).
  std::vector<std::pair<std::string, std::string>> settings;
};

}  // namespace sightline
