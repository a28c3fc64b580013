#include "config/data_folder.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>

namespace sightline {
namespace {

constexpr const char* kAddress = "address";
constexpr const char* kAcceptedTime = "clock.accepted";

// What tells a folder from a copy of it, and stays when it is renamed.
std::string IdentityOf(const std::filesystem::path& folder) {
  struct stat about {};
  if (stat(folder.c_str(), &about) != 0) return "";
  return fmt::format("folder {} {}", about.st_dev, about.st_ino);
}

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

std::string DataFolder::known_tables(std::string_view step) const {
  const std::string file = "lake.json";
  return (path_ / (step.empty() ? file : fmt::format("{}_{}", step, file))).string();
}

std::string DataFolder::lake_cache(std::string_view step) const {
  return (path_ / (step.empty() ? "lake_cache" : fmt::format("{}_lake_cache", step))).string();
}

Status DataFolder::WriteAddress(const ServerAddress& address) const {
  const std::filesystem::path path = path_ / kAddress;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << address.url << '\n' << address.boot << '\n' << IdentityOf(path_) << '\n';
  if (!file.flush()) return Status::Stop(fmt::format("cannot write '{}'", path.string()));
  return Status::Ok();
}

void DataFolder::RemoveAddress() const {
  std::error_code ignored;
  std::filesystem::remove(path_ / kAddress, ignored);
}

Status DataFolder::WriteAcceptedTime(int64_t wall_ms) const {
  // Under another name first: a process may look at any moment.
  const std::filesystem::path path = path_ / kAcceptedTime, part = path_ / "clock.accepted.part";
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  file << wall_ms << '\n';
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(part, path, error);
  if (!file || error) return Status::Stop(fmt::format("cannot write '{}'", path.string()));
  return Status::Ok();
}

std::optional<int64_t> DataFolder::TakeAcceptedTime() const {
  const std::filesystem::path path = path_ / kAcceptedTime;
  std::ifstream file(path, std::ios::binary);
  int64_t wall_ms = 0;
  if (!(file >> wall_ms)) return std::nullopt;
  std::error_code ignored;
  return std::filesystem::remove(path, ignored) ? std::optional(wall_ms) : std::nullopt;
}

bool DataFolder::HasAcceptedTime() const {
  std::error_code ignored;
  return std::filesystem::exists(path_ / kAcceptedTime, ignored);
}

std::optional<ServerAddress> DataFolder::ReadAddress() const {
  std::ifstream file(path_ / kAddress, std::ios::binary);
  ServerAddress address;
  std::string folder;
  if (!std::getline(file, address.url) || !address.url.starts_with("http://") ||
      !std::getline(file, address.boot) || !std::getline(file, folder) ||
      folder != IdentityOf(path_))
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
