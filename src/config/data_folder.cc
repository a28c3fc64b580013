#include "config/data_folder.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>

namespace sightline {
namespace {

std::filesystem::path AddressPath(const std::string& data) {
  return std::filesystem::path(data) / "address";
}

}  // namespace

Status WriteAddressFile(const std::string& data, const ServerAddress& address) {
  const std::filesystem::path path = AddressPath(data);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << address.url << '\n' << address.boot << '\n';
  if (!file.flush()) return Status::Stop(fmt::format("cannot write '{}'", path.string()));
  return Status::Ok();
}

void RemoveAddressFile(const std::string& data) {
  std::error_code ignored;
  std::filesystem::remove(AddressPath(data), ignored);
}

std::optional<ServerAddress> ReadAddressFile(const std::string& data) {
  std::ifstream file(AddressPath(data), std::ios::binary);
  ServerAddress address;
  if (!std::getline(file, address.url) || !address.url.starts_with("http://") ||
      !std::getline(file, address.boot))
    return std::nullopt;
  return address;
}

bool IsOf(const ServerAddress& address, const std::string& health) {
  boost::system::error_code error;
  const boost::json::value body = boost::json::parse(health, error);
  if (error || !body.is_object()) return false;
  const boost::json::value* const boot = body.get_object().if_contains("boot");
  return boot != nullptr && boot->is_string() &&
         std::string_view(boot->get_string()) == address.boot;
}

std::string DefaultLakeDir(const std::string& data) {
  return (std::filesystem::path(data) / "lake").string();
}

}  // namespace sightline
