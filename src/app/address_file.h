// The address of the server that owns a data folder, for commands that ask it.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"

namespace sightline {

Status WriteAddressFile(const std::string& data, const std::string& url);
void RemoveAddressFile(const std::string& data);
// Nothing if no server says that it owns the folder. It may be gone without having said so.
std::optional<std::string> ReadAddressFile(const std::string& data);

// Where the lake is when nobody says otherwise.
std::string DefaultLakeDir(const std::string& data);

}  // namespace sightline
