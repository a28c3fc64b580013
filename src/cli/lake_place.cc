#include "cli/lake_place.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <system_error>

#include "config/data_folder.h"
#include "config/options.h"

namespace sightline {
namespace {

constexpr const char* kConfigHere = "sightline.toml";

std::filesystem::path Normal(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::weakly_canonical(std::filesystem::absolute(path), ignored);
}

}  // namespace

void AddLakePlace(CLI::App* command, LakePlaceOptions* options) {
  command->add_option("--data", options->data, "data folder of `sightline up`")
      ->default_str(Settings().data);
  command->add_option("--config", options->config,
                      "of `sightline up`, for its data folder and lake.dir; by default "
                      "./sightline.toml if the data folder is its");
  command->add_option("--lake", options->lake, "read this lake's files and ask no server");
}

Result<LakePlace> FindLake(const LakePlaceOptions& given) {
  Settings configured;
  if (!given.lake.empty()) {
    const std::string data = given.data.empty() ? configured.data : given.data;
    return LakePlace{.data = data, .lake = given.lake, .files_only = true};
  }
  std::error_code ignored;
  if (!given.config.empty()) {
    RETURN_IF_ERROR(LoadConfig(given.config, OptionTable(&configured)));
  } else if (std::filesystem::exists(kConfigHere, ignored)) {
    RETURN_IF_ERROR(LoadConfig(kConfigHere, OptionTable(&configured)));
    // It says nothing about another folder.
    if (!given.data.empty() && Normal(given.data) != Normal(configured.data))
      configured.lake.dir.clear();
  }
  LakePlace place{.data = given.data.empty() ? configured.data : given.data};
  place.lake = configured.lake.dir.empty() ? DefaultLakeDir(place.data) : configured.lake.dir;
  return place;
}

}  // namespace sightline
