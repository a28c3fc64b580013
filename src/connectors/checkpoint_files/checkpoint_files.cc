// Layout: '<dir>/<source>/<partition>/<epoch>.entry', the epoch in 20 digits. A claim and a
// checkpoint share the names, so that they collide. In <source> everything but letters, digits,
// '-',
// '_' and '.' is written as %XX, and so is a '.' at its beginning. Names beginning with ".put-" are
// puts under way.
#include "connectors/checkpoint_files/checkpoint_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

#include "base/check.h"
#include "connectors/checkpoint_files/entry_file.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".entry";
constexpr std::string_view kPutPrefix = ".put-";
constexpr size_t kEpochDigits = 20;

std::string Escaped(std::string_view source) {
  std::string name;
  for (const char c : source) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || (c == '.' && !name.empty());
    name += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return name;
}

std::string EntryName(Epoch epoch) {
  return fmt::format("{:0{}}{}", epoch.v, kEpochDigits, kExtension);
}

std::optional<Epoch> EpochOf(std::string_view name) {
  if (name.size() != kEpochDigits + kExtension.size() || !name.ends_with(kExtension)) return {};
  Epoch epoch;
  const char* end = name.data() + kEpochDigits;
  const auto [stopped, error] = std::from_chars(name.data(), end, epoch.v);
  if (error != std::errc() || stopped != end || epoch.v <= 0) return {};
  return epoch;
}

// Of the entries in a partition's directory, newest first. A directory that is not there is empty.
Result<std::vector<Epoch>> ListEntries(const fs::path& dir) {
  std::vector<Epoch> epochs;
  std::error_code error;
  fs::directory_iterator it(dir, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error))
    if (const auto epoch = EpochOf(it->path().filename().native())) epochs.push_back(*epoch);
  if (error && error != std::errc::no_such_file_or_directory)
    return SystemError(error.value(), "list", dir);
  std::sort(epochs.rbegin(), epochs.rend());
  return epochs;
}

Status SyncDirectory(const fs::path& dir) {
  const int fd = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return SystemError(errno, "open", dir);
  const int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  return error == 0 ? Status::Ok() : SystemError(error, "sync", dir);
}

// Makes the directory and what it lies in, each durable before anything is put into it.
Status MakeDirectory(const fs::path& dir) {
  std::error_code error;
  if (dir.empty() || fs::is_directory(dir, error)) return Status::Ok();
  RETURN_IF_ERROR(MakeDirectory(dir.parent_path()));
  fs::create_directory(dir, error);
  if (error) return SystemError(error.value(), "make the directory", dir);
  return SyncDirectory(dir.has_parent_path() ? dir.parent_path() : fs::path("."));
}

// A put that was interrupted has left its file. Whoever still writes one here is an older owner:
// its link(2) then fails, and it has to begin again.
void RemoveInterruptedPuts(const fs::path& dir) {
  std::error_code error;
  std::vector<fs::path> found;
  fs::directory_iterator it(dir, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error))
    if (it->path().filename().native().starts_with(kPutPrefix)) found.push_back(it->path());
  for (const fs::path& path : found) fs::remove(path, error);
}

// The file of a put under way; its name goes when it is linked or given up.
class PutFile {
 public:
  explicit PutFile(const fs::path& dir) : path_(dir / Name()) {}
  ~PutFile() { unlink(path_.c_str()); }
  PutFile(const PutFile&) = delete;
  PutFile& operator=(const PutFile&) = delete;
  const fs::path& path() const { return path_; }

 private:
  static std::string Name() {
    static std::atomic<int64_t> puts = 0;
    return fmt::format("{}{}-{}", kPutPrefix, getpid(), ++puts);
  }
  const fs::path path_;
};

Status Taken(const SourcePartition& partition, Epoch epoch) {
  return Status::Rebuild(
      fmt::format("checkpoint epoch {} of '{}' partition {} is taken: a newer "
                  "task owns it",
                  epoch.v, partition.source, partition.partition));
}

}  // namespace

fs::path CheckpointFiles::DirectoryOf(const SourcePartition& partition) const {
  return dir_ / Escaped(partition.source) / std::to_string(partition.partition);
}

Result<StoredCheckpoint> CheckpointFiles::Latest(const SourcePartition& partition) {
  const fs::path dir = DirectoryOf(partition);
  if (std::find(swept_.begin(), swept_.end(), partition) == swept_.end()) {
    RemoveInterruptedPuts(dir);
    swept_.push_back(partition);
  }
  const Result<std::vector<Epoch>> entries = ListEntries(dir);
  if (!entries.ok()) return entries.status();
  StoredCheckpoint stored;
  if (entries.value().empty()) return stored;
  stored.newest = entries.value().front();
  for (const Epoch epoch : entries.value()) {
    const EntryHeader expected{.epoch = epoch, .partition = partition};
    const fs::path path = dir / EntryName(epoch);
    const Result<EntryKind> kind = ReadEntryKind(path, expected);
    // Removed under our eyes: somebody has put a newer one, which the next call sees.
    if (!kind.ok()) return kind.status();
    if (kind.value() == EntryKind::kClaim) continue;
    Result<std::string> checkpoint = ReadCheckpoint(path, expected);
    if (!checkpoint.ok()) return checkpoint.status();
    stored.checkpoint = std::move(checkpoint).value();
    break;
  }
  return stored;
}

Status CheckpointFiles::PutIfAbsent(const SourcePartition& partition, Epoch epoch,
                                    const CheckpointWriter* writer) {
  CHECK(epoch.v > 0);
  const fs::path dir = DirectoryOf(partition);
  RETURN_IF_ERROR(MakeDirectory(dir));
  Result<std::vector<Epoch>> entries = ListEntries(dir);
  if (!entries.ok()) return entries.status();
  // An epoch behind the newest may be free only because its entry was removed.
  if (!entries.value().empty() && entries.value().front() >= epoch) return Taken(partition, epoch);

  const PutFile put(dir);
  const EntryKind kind = writer != nullptr ? EntryKind::kCheckpoint : EntryKind::kClaim;
  RETURN_IF_ERROR(
      WriteEntry(put.path(), {.kind = kind, .epoch = epoch, .partition = partition}, writer));
  const fs::path path = dir / EntryName(epoch);
  if (link(put.path().c_str(), path.c_str()) != 0) {
    if (errno == EEXIST) return Taken(partition, epoch);
    if (errno == ENOENT)
      return Status::Rebuild(fmt::format(
          "'{}' was removed: a newer task has begun with its partition", put.path().native()));
    return SystemError(errno, "link", path);
  }
  if (const Status synced = SyncDirectory(dir); !synced.ok())
    return Status::Rebuild("it is unknown whether the entry is durable: " + synced.message());
  // Look again: between the first look and the link, somebody can have put this epoch and a newer
  // checkpoint and removed this epoch. Our file then lies behind that checkpoint, where nobody
  // looks.
  entries = ListEntries(dir);
  if (!entries.ok()) return Status::Rebuild(entries.status().message());
  if (entries.value().empty() || entries.value().front() != epoch) return Taken(partition, epoch);
  // Only what lies behind a checkpoint is removed, claims too: without the claim of a newer owner,
  // an older one could still put its checkpoint under that epoch, and it would be believed.
  if (kind == EntryKind::kCheckpoint)
    for (const Epoch older : entries.value())
      if (older < epoch) unlink((dir / EntryName(older)).c_str());
  return Status::Ok();
}

}  // namespace sightline
