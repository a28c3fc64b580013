// KafkaPost: an HttpClient that writes a camera's posts to the raw topic instead of sending them to
// a server. Its answers read like those of the server, so that the spool, the order and the
// back-off of camera/sender.h work for both.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "camera/http_client.h"
#include "config/options.h"

namespace sightline {

// What one message of the topic holds.
enum class KafkaMessage : uint8_t { kEvent, kFrame };

// The first post connects. While the cluster is away, a post has no answer. kStop: the client
// refuses the options.
Result<std::unique_ptr<HttpClient>> OpenKafkaPost(const Settings& options, KafkaMessage message);

}  // namespace sightline
