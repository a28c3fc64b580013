// LocalStorage: a Storage in a directory of a local disk.
//
// Put() writes a temporary file beside the target, syncs it, gives it its name (with rename(2), or
// with link(2), which fails if the name is taken), and syncs the directory. PutAll() performs each
// of these steps for all files before the next step. It syncs a few files with a thread each, and
// many with syncfs(2): once for the files and once for their names. One after another, each file
// would cost a journal commit and a flush of the disk. So a data folder is best placed on a file
// system of its own. Symbolic links may not lead out of the root, and no file may be one.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/storage/storage.h"

namespace sightline {

class LocalStorage final : public Storage {
 public:
  // `root` is created with the first file.
  explicit LocalStorage(std::filesystem::path root) : root_(std::move(root)) {}

  Result<std::optional<std::string>> Read(std::string_view path, ByteRange range) override;
  Result<PutOutcome> Put(std::string_view path, std::string_view bytes, PutMode mode) override;
  Status Confirm(std::string_view path) override;
  Status PutAll(std::span<const NewFile> files) override;
  Result<std::vector<FileInfo>> List(std::string_view directory) override;
  Result<std::optional<FileInfo>> Stat(std::string_view path) override;
  Status Delete(std::string_view path) override;

 private:
  // The path in the file system, after checking that it does not leave the root.
  Result<std::filesystem::path> Resolve(std::string_view path) const;
  // PutAll() for few enough files to keep all of them open.
  Status PutSome(std::span<const NewFile> files);
  Status ListInto(const std::filesystem::path& directory, const std::string& prefix,
                  std::vector<FileInfo>& files) const;

  const std::filesystem::path root_;
};

}  // namespace sightline
