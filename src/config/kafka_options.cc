#include "config/kafka_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "engine/partition_task.h"

namespace sightline {
namespace {

Result<std::string> Secret(const char* variable, const std::string& file) {
  if (const char* const value = std::getenv(variable)) return std::string(value);
  if (file.empty()) return std::string();
  std::ifstream in(file, std::ios::binary);
  std::string secret((std::istreambuf_iterator<char>(in)), {});
  if (!in.good() && !in.eof())
    return Status::Stop(fmt::format("the password file '{}' cannot be read", file));
  // Editors end files with a line end, which is not part of it.
  while (secret.ends_with('\n') || secret.ends_with('\r')) secret.pop_back();
  if (secret.empty()) return Status::Stop(fmt::format("the password file '{}' is empty", file));
  return secret;
}

}  // namespace

Result<KafkaOptions> MakeKafkaOptions(const KafkaSettings& settings) {
  KafkaOptions kafka = settings.client;
  Result<std::string> password = Secret("SIGHTLINE_KAFKA_PASSWORD", settings.sasl_password_file);
  if (!password.ok()) return password.status();
  kafka.sasl_password = std::move(password).value();
  Result<std::string> key_password =
      Secret("SIGHTLINE_KAFKA_KEY_PASSWORD", settings.ssl_key_password_file);
  if (!key_password.ok()) return key_password.status();
  kafka.ssl_key_password = std::move(key_password).value();
  return kafka;
}

Millis ProgressRepeatInterval(const KafkaSettings& settings) {
  constexpr Millis kDay{86'400'000};
  const Millis retention = settings.counts_retention;
  return retention.v > 0 ? std::min(kDay, Millis{std::max<int64_t>(1, retention.v / 4)}) : kDay;
}

SinkOptions KafkaSinkOptions(const KafkaSettings& settings) {
  // A transaction of more may not be done in its time, and then never would be.
  constexpr int64_t kRowsMax = 16'384;
  return {.name = "kafka counts",
          .commit_interval_ms = settings.commit_interval.v,
          .offer_rows_max = kRowsMax};
}

}  // namespace sightline
