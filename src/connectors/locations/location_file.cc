#include "connectors/locations/location_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/files.h"
#include "connectors/locations/parquet_table.h"

namespace sightline {
namespace {

constexpr size_t kFileBytesMax = 256 << 20;
constexpr int32_t kReadsMax = 3;  // of a file that is being written to

FileVersion VersionOf(const struct stat& info) {
  return {.modified_ns = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec,
          .bytes = info.st_size,
          .device = info.st_dev,
          .inode = info.st_ino};
}

Status Failed(std::string_view doing, const std::string& path) {
  return Status::Stop(fmt::format("cannot {} '{}': {}", doing, path, std::strerror(errno)));
}

struct WholeFile {
  std::string bytes;
  FileVersion version;
};

// Reads the whole file. kRetry if it changed between the first byte and the last.
Result<WholeFile> ReadWhole(const std::string& path) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat before {
  }, after{};
  if (file.fd() < 0 || fstat(file.fd(), &before) != 0)
    return Failed("read the location table", path);
  WholeFile whole{.version = VersionOf(before)};
  if (static_cast<uint64_t>(before.st_size) <= kFileBytesMax)
    whole.bytes.reserve(static_cast<size_t>(before.st_size));
  char buffer[1 << 16];
  for (;;) {
    const ssize_t size = read(file.fd(), buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return Failed("read the location table", path);
    if (size == 0) break;
    whole.bytes.append(buffer, static_cast<size_t>(size));
    if (whole.bytes.size() > kFileBytesMax)
      return Status::Stop(fmt::format("the location table '{}' is larger than 256 MiB", path));
  }
  const bool regular = S_ISREG(before.st_mode);  // a pipe has no size
  if (fstat(file.fd(), &after) != 0) return Failed("read the location table", path);
  if (regular && (VersionOf(after) != whole.version ||
                  static_cast<int64_t>(whole.bytes.size()) != whole.version.bytes))
    return Status::Retry(
        fmt::format("the location table '{}' was written to while it was read; write a new file "
                    "beside it and rename that",
                    path));
  return whole;
}

}  // namespace

std::optional<FileVersion> ReadFileVersion(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return std::nullopt;
  return VersionOf(info);
}

Result<LocationFile> ReadLocationFile(const std::string& path) {
  Result<WholeFile> whole = ReadWhole(path);
  for (int32_t reads = 1; reads < kReadsMax && whole.status().code() == StatusCode::kRetry; ++reads)
    whole = ReadWhole(path);
  if (!whole.ok()) return whole.status();
  Result<std::vector<Location>> locations = ParseLocationFile(whole.value().bytes);
  if (!locations.ok())
    return Status::Stop(
        fmt::format("the location table '{}' is refused: {}", path, locations.status().message()));
  return LocationFile{.locations = std::move(locations).value(),
                      .version = whole.value().version,
                      .bytes = std::move(whole.value().bytes)};
}

Result<std::vector<Location>> ParseLocationFile(std::string_view bytes) {
  return LooksLikeParquet(bytes) ? ParseParquetLocations(std::string(bytes))
                                 : ParseLocations(bytes);
}

Status WriteFileWhole(const std::string& path, std::string_view bytes) {
  // A new file and a rename, so that a reader, or a crash, sees either the old content or the new
  // one.
  const std::string fresh = path + ".new";
  {
    const File file(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.fd() < 0) return Failed("write", fresh);
    while (!bytes.empty()) {
      const ssize_t size = write(file.fd(), bytes.data(), bytes.size());
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) return Failed("write", fresh);
      bytes.remove_prefix(static_cast<size_t>(size));
    }
    if (fsync(file.fd()) != 0) return Failed("write", fresh);
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) return Failed("write", path);
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  return SyncDirectory(parent.empty() ? "." : parent);
}

}  // namespace sightline
