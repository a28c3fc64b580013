// Storage: the port to a store of files - a local disk, HDFS - as the lake needs it.
//
// Paths are relative to the storage's root, separated by '/', without empty components, "." and
// "..". Every method is thread-safe, and several processes may use one storage at once. A file
// exists completely or not at all, and what a successful Put() wrote survives a crash of the
// machine. A list shows every finished put: a store that lists late is not supported.
//
// Errors: kRetry: nothing happened; try again later (a full disk, an unreachable server). kRebuild,
// of Put() only: it is unknown whether the file exists, or lasts; read it and call Confirm().
// kStop: a person must act (permissions, a path that leaves the root).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sightline {

struct FileInfo {
  std::string path;
  int64_t size_bytes = 0;
  int64_t modified_ms = 0;  // since the Unix epoch, by the storage's clock
  friend bool operator==(const FileInfo&, const FileInfo&) = default;
};

// The half-open range [first, next) of a file's bytes. What lies beyond the file's end is left out.
struct ByteRange {
  int64_t first = 0;
  int64_t next = INT64_MAX;
};

struct NewFile {
  std::string path, bytes;
};

enum class PutMode : uint8_t { kReplace, kIfAbsent };
enum class PutOutcome : uint8_t {
  kWritten,
  kTaken,  // with kIfAbsent: another file has the name; nothing was changed
};

class Storage {
 public:
  virtual ~Storage() = default;
  // Reads a range of a file; nothing if there is no such file.
  virtual Result<std::optional<std::string>> Read(std::string_view path, ByteRange range) = 0;
  // Writes a file, and creates the directories of its path. kIfAbsent: of all who put one path, one
  // wins.
  virtual Result<PutOutcome> Put(std::string_view path, std::string_view bytes, PutMode mode) = 0;
  // Makes sure that a file that was read after such an answer lasts. kOk at once where every file
  // that can be read does.
  virtual Status Confirm(std::string_view) { return Status::Ok(); }
  // Puts files whose names nobody else uses. kOk: all of them exist and are durable; otherwise any
  // of them may exist. Puts them one by one, unless the storage has a faster way.
  virtual Status PutAll(std::span<const NewFile> files);
  // Lists every file below a directory, at any depth, sorted by path. A directory that does not
  // exist is empty. The list includes what interrupted puts have left; these names begin with
  // kPutPrefix.
  virtual Result<std::vector<FileInfo>> List(std::string_view directory) = 0;
  virtual Result<std::optional<FileInfo>> Stat(std::string_view path) = 0;
  // Deletes a file. kOk also if there is no such file.
  virtual Status Delete(std::string_view path) = 0;

  static constexpr std::string_view kPutPrefix = ".put-";
  Result<std::optional<std::string>> ReadWhole(std::string_view path) { return Read(path, {}); }
};

inline Status Storage::PutAll(std::span<const NewFile> files) {
  for (const NewFile& file : files) {
    const Result<PutOutcome> put = Put(file.path, file.bytes, PutMode::kReplace);
    if (!put.ok()) return put.status();
  }
  return Status::Ok();
}

}  // namespace sightline
