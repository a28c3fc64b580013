// The address file of a data folder: commands read it to find the server that owns the folder.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"

namespace sightline {

// The file has two lines: the URL, and the `boot` of the server's /healthz. Another server may have
// taken the address since then; IsOf() finds out.
struct ServerAddress {
  std::string url, boot;
};

Status WriteAddressFile(const std::string& data, const ServerAddress& address);
void RemoveAddressFile(const std::string& data);
// Nothing if there is no valid file. A server that was killed leaves its file behind.
std::optional<ServerAddress> ReadAddressFile(const std::string& data);
// Returns whether `health`, an answer of /healthz, comes from the server that wrote the file.
bool IsOf(const ServerAddress& address, const std::string& health);

// Returns the lake's folder if lake.dir is not set.
std::string DefaultLakeDir(const std::string& data);

}  // namespace sightline
