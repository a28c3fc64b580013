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
  command->add_option("--data", options->data, "The data folder of `sightline up`.")
      ->default_str(Settings().data);
  command->add_option("--config", options->config,
                      "The configuration file of `sightline up`, for its data folder and lake.dir. "
                      "The default is ./sightline.toml, if it names the same data folder.");
  command->add_option("--lake", options->lake,
                      "The folder of a lake, or hdfs://NAME/path or s3://BUCKET/path with its "
                      "section [hdfs.NAME] or [s3.BUCKET] in the configuration file. Its files are "
                      "read, and no server is asked.");
}

Result<LakePlace> FindLake(const LakePlaceOptions& given) {
  Settings configured;
  if (!given.lake.empty() && LocalFolder(given.lake)) {
    const std::string data = given.data.empty() ? configured.data : given.data;
    return LakePlace{.data = data, .lake = given.lake, .files_only = true};
  }
  std::error_code ignored;
  if (!given.config.empty()) {
    RETURN_IF_ERROR(LoadConfig(given.config, OptionTable(&configured)));
  } else if (std::filesystem::exists(kConfigHere, ignored)) {
    RETURN_IF_ERROR(LoadConfig(kConfigHere, OptionTable(&configured)));
    // The file describes another data folder, so its lake.dir does not apply.
    if (!given.data.empty() && Normal(given.data) != Normal(configured.data))
      configured.lake.dir.clear();
  }
  LakePlace place{.data = given.data.empty() ? configured.data : given.data,
                  .lake = given.lake,
                  .storage = {.hdfs = configured.hdfs, .s3 = configured.s3},
                  .cache_bytes_max = configured.query.cache_max,
                  .files_only = !given.lake.empty()};
  if (place.files_only) return place;
  place.lake = configured.lake.dir.empty() ? DataFolder(place.data).lake() : configured.lake.dir;
  return place;
}

}  // namespace sightline
