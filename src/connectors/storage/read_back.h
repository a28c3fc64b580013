// HasContent: what a put does when it does not know whether it was its own file that got the name.
#pragma once

#include <optional>
#include <string_view>

#include "base/status.h"
#include "connectors/storage/content.h"
#include "connectors/storage/storage.h"

namespace sightline {

// Whether a file has exactly this content; nothing if there is no file. Reads it piece by piece.
Result<std::optional<bool>> HasContent(Storage& storage, std::string_view path,
                                       const Content& content);

}  // namespace sightline
