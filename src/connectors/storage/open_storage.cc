#include "connectors/storage/open_storage.h"

#include <fmt/format.h>

#include <filesystem>
#include <string_view>
#include <utility>

#include "connectors/storage/local_storage.h"
#include "connectors/storage/storage_path.h"
#include "connectors/storage/webhdfs_storage.h"

namespace sightline {
namespace {

constexpr std::string_view kFile = "file:///";
constexpr std::string_view kHdfs = "hdfs://";

bool IsPath(const std::string& url) {
  return url.starts_with(kFile) || url.find("://") == std::string::npos;
}

Status BadUrl(const std::string& url, std::string_view why) {
  return Status::Stop(fmt::format("storage '{}' is refused: {}", url, why));
}

Result<std::unique_ptr<Storage>> OpenHdfs(const std::string& url, const StorageOptions& options) {
  const std::string rest = url.substr(kHdfs.size());
  const size_t slash = rest.find('/');
  const std::string name = rest.substr(0, slash);
  std::string root = slash == std::string::npos ? "" : rest.substr(slash);
  while (root.ends_with('/')) root.pop_back();
  if (name.empty() || root.empty()) return BadUrl(url, "write it as hdfs://NAME/path");
  RETURN_IF_ERROR(CheckStoragePath(root.substr(1)));
  const auto found = options.hdfs.find(name);
  if (found == options.hdfs.end())
    return BadUrl(url, fmt::format("the configuration does not say where WebHDFS is: add a section "
                                   "[hdfs.{}] with namenodes = [\"https://HOST:9871\", ...]",
                                   name));
  return WebHdfsStorage::Create(name, root, found->second, options.metrics, options.stop);
}

Result<std::unique_ptr<Storage>> OpenPlain(const std::string& url, const StorageOptions& options) {
  if (url.empty()) return BadUrl(url, "it is empty");
  if (url.starts_with(kHdfs)) return OpenHdfs(url, options);
  const std::optional<std::string> folder = LocalFolder(url);
  if (!folder) return BadUrl(url, "it must be a path, file:///path or hdfs://NAME/path");
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
