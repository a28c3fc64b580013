// Storage: the port to a store of files - a local disk, HDFS, S3 - as the lake needs it.
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
#include "connectors/storage/content.h"

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
  std::string path;
  Content content;
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
  // Writes files, and creates the directories of their paths. kWritten: all of them exist and are
  // durable; after an error any of them may exist. kIfAbsent takes one file: of all who put one
  // path, one wins. Several files have names that nobody else uses, and are written at once.
  virtual Result<PutOutcome> PutFiles(std::span<const NewFile> files, PutMode mode) = 0;
  // Lists every file below a directory, at any depth, sorted by path; "" is the root. A directory
  // that does not exist is empty. The list includes what interrupted puts have left; these names
  // begin with kPutPrefix.
  virtual Result<std::vector<FileInfo>> List(std::string_view directory) = 0;
  virtual Result<std::optional<FileInfo>> Stat(std::string_view path) = 0;
  // Deletes a file. kOk also if there is no such file.
  virtual Status Delete(std::string_view path) = 0;

  static constexpr std::string_view kPutPrefix = ".put-";
  // Such a name, which no other attempt of any process on any machine uses.
  static std::string UniquePutName();

  Result<std::optional<std::string>> ReadWhole(std::string_view path) { return Read(path, {}); }
  Result<PutOutcome> Put(std::string_view path, Content content, PutMode mode);
  // Makes sure that a file lasts that was read after a put whose outcome is unknown. A store keeps
  // the order of changes in a directory, so the file lasts when a later one beside it does. kRetry:
  // not known yet; confirm again.
  Status Confirm(std::string_view path);
  // What the storage's clock says now, which sets FileInfo::modified_ms, in ms since the Unix
  // epoch: the time of a file that is put into the directory, and deleted again. So it is asked in
  // the same way of every store.
  Result<int64_t> NowMs(std::string_view directory);
};

}  // namespace sightline
