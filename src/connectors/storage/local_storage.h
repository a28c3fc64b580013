// LocalStorage: a Storage in a directory of a local disk.
//
// The root is opened once and held, and everything is done relative to it. Before each call, the
// root's path must still lead to the directory that was opened. Otherwise its file system is not
// mounted any more, or somebody has exchanged the folder: the call is kStop, and nothing is written
// into the other directory. Another directory is taken as the same root only if it has the very
// file that was put last with kIfAbsent: then the file system was mounted again under another
// number. While the root is away, a later call may succeed, so a caller that can wait tries again.
//
// Put() writes a temporary file beside the target, syncs it, gives it its name (with rename(2), or
// with link(2), which fails if the name is taken), and syncs the directory. PutAll() performs each
// of these steps for all files before the next step. It syncs a few files with a thread each, and
// many with syncfs(2): once for the files and once for their names. One after another, each file
// would cost a journal commit and a flush of the disk. So a data folder is best placed on a file
// system of its own. Below the root no symbolic link is followed.
#pragma once

#include <cstddef>
#include <filesystem>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "connectors/storage/open_directory.h"
#include "connectors/storage/storage.h"

namespace sightline {

class LocalStorage final : public Storage {
 public:
  // `root` is created with the first file, unless it has been there before.
  explicit LocalStorage(std::filesystem::path root) : root_(std::move(root)) {}

  Result<std::optional<std::string>> Read(std::string_view path, ByteRange range) override;
  Result<PutOutcome> PutFiles(std::span<const NewFile> files, PutMode mode) override;
  Result<std::vector<FileInfo>> List(std::string_view directory) override;
  Result<std::optional<FileInfo>> Stat(std::string_view path) override;
  Status Delete(std::string_view path) override;

 private:
  // A file's directory and its name in it.
  struct Place {
    OpenDirectoryPtr directory;  // null: it does not exist
    std::string name;
  };
  // The file that was put last with kIfAbsent: no other store has it.
  struct Mark {
    std::string path;
    size_t size = 0, hash = 0;
  };

  // The directory that was opened. Null: it does not exist, and never has.
  Result<OpenDirectoryPtr> Root(bool make);
  bool HasMark(const OpenDirectory& root) const;
  Result<Place> Find(std::string_view path);
  Result<PutOutcome> PutOne(std::string_view path, const Content& content, PutMode mode);
  // For few enough files to keep all of them open.
  Status PutSome(std::span<const NewFile> files);
  void Remember(std::string_view path, const Content& content);

  const std::filesystem::path root_;
  std::mutex mutex_;
  // Under mutex_.
  OpenDirectoryPtr opened_;
  std::optional<Mark> mark_;
};

}  // namespace sightline
