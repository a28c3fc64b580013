// Paths of a storage: what storage.h allows in them, and their parts. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace sightline {

// kStop unless the path is relative and every component is a name.
Status CheckStoragePath(std::string_view path);

// Divides a path into that of its directory, which may be empty, and its name.
std::pair<std::string_view, std::string> DivideStoragePath(std::string_view path);

}  // namespace sightline
