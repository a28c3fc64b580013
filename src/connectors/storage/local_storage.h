// LocalStorage: a Storage in a directory of a local disk.
//
// Put writes a temporary file beside the target, syncs it, gives it its name (rename(2), or
// link(2), which fails if the name is taken) and syncs the directory. PutAll does each of these
// steps for all files before the next. It syncs a few files by a thread each, and many by
// syncfs(2), once for the files and once for their names: one after another would be a journal
// commit and a flush of the disk for each. So a data folder is best on a file system of its own.
// Symbolic links may not lead out of the root, and no file may be one.
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
  // `root` is made with the first file.
  explicit LocalStorage(std::filesystem::path root) : root_(std::move(root)) {}

  Result<std::optional<std::string>> Read(std::string_view path, ByteRange range) override;
  Result<PutOutcome> Put(std::string_view path, std::string_view bytes, PutMode mode) override;
  Status PutAll(std::span<const NewFile> files) override;
  Result<std::vector<FileInfo>> List(std::string_view directory) override;
  Result<std::optional<FileInfo>> Stat(std::string_view path) override;
  Status Delete(std::string_view path) override;

 private:
  // The path in the file system, once it is known that it does not leave the root.
  Result<std::filesystem::path> Resolve(std::string_view path) const;
  // PutAll of few enough files to have all of them open.
  Status PutSome(std::span<const NewFile> files);
  Status ListInto(const std::filesystem::path& directory, const std::string& prefix,
                  std::vector<FileInfo>& files) const;

  const std::filesystem::path root_;
};

}  // namespace sightline
