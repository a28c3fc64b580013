// OpenDirectory: a directory that is held open, so that its path may come to mean another one
// without changing where files go. Below it, no symbolic link is followed.
//
// Immutable and thread-safe. The destructor closes it.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/files.h"
#include "base/status.h"

namespace sightline {

class OpenDirectory;
using OpenDirectoryPtr = std::shared_ptr<const OpenDirectory>;

class OpenDirectory {
 public:
  // kStop or kRetry: it is not there, or cannot be opened.
  static Result<OpenDirectoryPtr> Open(const std::filesystem::path& path);

  int fd() const { return file_.fd(); }
  const std::filesystem::path& path() const { return path_; }  // where it was, for messages
  // False: `other` is another directory, or this one was deleted, or its file system is gone.
  bool Is(const struct stat& other) const;
  Status Sync() const;

  // Opens a directory below this one by a path of names. Null: it does not exist.
  Result<OpenDirectoryPtr> Find(std::string_view path) const;
  // The same, but makes what is missing. `changed` is given each directory that got a name, as a
  // path below this one; the caller makes the names durable.
  using OnChange = std::function<Status(const std::string& path, const OpenDirectory& directory)>;
  Result<OpenDirectoryPtr> FindOrMake(std::string_view path, const OnChange& changed) const;

 private:
  OpenDirectory(int fd, std::filesystem::path path) : file_(fd), path_(std::move(path)) {}
  Result<OpenDirectoryPtr> Enter(const std::string& name) const;

  const File file_;
  const std::filesystem::path path_;
};

}  // namespace sightline
