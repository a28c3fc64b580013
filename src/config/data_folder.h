// The address of the server that owns a data folder, for commands that ask it.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"

namespace sightline {

// Two lines: the URL, and the `boot` of the server's /healthz. Another server may have taken the
// address since.
struct ServerAddress {
  std::string url, boot;
};

Status WriteAddressFile(const std::string& data, const ServerAddress& address);
void RemoveAddressFile(const std::string& data);
// Nothing if no server says that it owns the folder. It may be gone without having said so.
std::optional<ServerAddress> ReadAddressFile(const std::string& data);
// Whether an answer of /healthz is of the server that wrote the file.
bool IsOf(const ServerAddress& address, const std::string& health);

// Where the lake is when nobody says otherwise.
std::string DefaultLakeDir(const std::string& data);

}  // namespace sightline
