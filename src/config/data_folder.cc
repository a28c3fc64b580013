#include "config/data_folder.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>

namespace sightline {
namespace {

constexpr const char* kAddress = "address";

}  // namespace

Status DataFolder::Create() const {
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  if (!error) return Status::Ok();
  return Status::Stop(
      fmt::format("cannot make the data folder '{}': {}", path_.string(), error.message()));
}

std::string DataFolder::last_good_locations(std::string_view step) const {
  const std::string file = "locations.last_good";
  return (path_ / (step.empty() ? file : fmt::format("{}_{}", step, file))).string();
}

Status DataFolder::WriteAddress(const ServerAddress& address) const {
  const std::filesystem::path path = path_ / kAddress;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << address.url << '\n' << address.boot << '\n';
  if (!file.flush()) return Status::Stop(fmt::format("cannot write '{}'", path.string()));
  return Status::Ok();
}

void DataFolder::RemoveAddress() const {
  std::error_code ignored;
  std::filesystem::remove(path_ / kAddress, ignored);
}

std::optional<ServerAddress> DataFolder::ReadAddress() const {
  std::ifstream file(path_ / kAddress, std::ios::binary);
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

}  // namespace sightline
