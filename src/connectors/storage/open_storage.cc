#include "connectors/storage/open_storage.h"

#include <fmt/format.h>

#include <filesystem>
#include <string_view>
#include <utility>

#include "connectors/storage/local_storage.h"
#include "connectors/storage/s3_storage.h"
#include "connectors/storage/storage_path.h"
#include "connectors/storage/webhdfs_storage.h"

namespace sightline {
namespace {

constexpr std::string_view kFile = "file:///";
constexpr std::string_view kHdfs = "hdfs://";
constexpr std::string_view kS3 = "s3://";

bool IsPath(const std::string& url) {
  return url.starts_with(kFile) || url.find("://") == std::string::npos;
}

Status BadUrl(const std::string& url, std::string_view why) {
  return Status::Stop(fmt::format("storage '{}' is refused: {}", url, why));
}

// NAME and path of SCHEME://NAME/path.
struct NamedPlace {
  std::string name, path;
};
Result<NamedPlace> ParseNamedPlace(const std::string& url, std::string_view scheme) {
  const std::string rest = url.substr(scheme.size());
  const size_t slash = rest.find('/');
  std::string path = slash == std::string::npos ? "" : rest.substr(slash + 1);
  while (path.ends_with('/')) path.pop_back();
  if (slash == 0 || path.empty())
    return BadUrl(url, fmt::format("write it as {}NAME/path", scheme));
  RETURN_IF_ERROR(CheckStoragePath(path));
  return NamedPlace{rest.substr(0, slash), std::move(path)};
}

Result<std::unique_ptr<Storage>> OpenHdfs(const std::string& url, const StorageOptions& options) {
  const Result<NamedPlace> place = ParseNamedPlace(url, kHdfs);
  if (!place.ok()) return place.status();
  const auto& [name, path] = place.value();
  const auto found = options.hdfs.find(name);
  if (found == options.hdfs.end())
    return BadUrl(url, fmt::format("the configuration does not say where WebHDFS is: add a section "
                                   "[hdfs.{}] with namenodes = [\"https://HOST:9871\", ...]",
                                   name));
  return WebHdfsStorage::Create(name, "/" + path, found->second, options.metrics, options.stop);
}

Result<std::unique_ptr<Storage>> OpenS3(const std::string& url, const StorageOptions& options) {
  const Result<NamedPlace> place = ParseNamedPlace(url, kS3);
  if (!place.ok()) return place.status();
  const auto& [bucket, path] = place.value();
  const auto found = options.s3.find(bucket);
  if (found == options.s3.end())
    return BadUrl(url, fmt::format("the configuration does not say how this bucket is reached: add "
                                   "a section [s3.{}] with endpoint = \"https://HOST\", or with "
                                   "region = \"...\" for AWS",
                                   bucket));
  return S3Storage::Create(bucket, path, found->second, options.metrics, options.stop);
}

Result<std::unique_ptr<Storage>> OpenPlain(const std::string& url, const StorageOptions& options) {
  if (url.empty()) return BadUrl(url, "it is empty");
  if (url.starts_with(kHdfs)) return OpenHdfs(url, options);
  if (url.starts_with(kS3)) return OpenS3(url, options);
  const std::optional<std::string> folder = LocalFolder(url);
  if (!folder)
    return BadUrl(url, "it must be a path, file:///path, hdfs://NAME/path or s3://BUCKET/path");
  return std::unique_ptr<Storage>(std::make_unique<LocalStorage>(*folder));
}

}  // namespace

std::optional<std::string> LocalFolder(const std::string& url) {
  if (!IsPath(url)) return std::nullopt;
  const std::string path = url.starts_with(kFile) ? url.substr(kFile.size() - 1) : url;
  return std::filesystem::absolute(path).lexically_normal().string();
}

std::string AbsoluteStorageUrl(const std::string& url) { return LocalFolder(url).value_or(url); }

Result<std::unique_ptr<Storage>> OpenStorage(const std::string& url,
                                             const StorageOptions& options) {
  Result<std::unique_ptr<Storage>> storage = OpenPlain(url, options);
  if (!storage.ok() || options.metrics == nullptr) return storage;
  return std::unique_ptr<Storage>(
      std::make_unique<MeteredStorage>(std::move(storage).value(), options.metrics));
}

}  // namespace sightline
