// KafkaPost: a camera's posts go to the raw topic instead of a server, with the same words in the
// answer, so that spool, order and backoff of camera/sender.h hold for both.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "camera/http_client.h"
#include "config/options.h"

namespace sightline {

// What one message of the topic has.
enum class KafkaMessage : uint8_t { kEvent, kFrame };

// Connects with the first post; a cluster that is away is an answer that did not come. kStop: the
// options are refused.
Result<std::unique_ptr<HttpClient>> OpenKafkaPost(const Settings& options, KafkaMessage message);

}  // namespace sightline
