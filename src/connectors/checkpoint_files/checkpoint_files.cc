// Layout: '<dir>/<source>/<partition>/<epoch>.entry', with the epoch in 20 digits. Claims and
// checkpoints share these names, so that they collide. Beside them, a spilled run is
// '<owner>-<number>.run', both numbers in 20 digits. In <source>, everything but letters, digits,
// '-', '_' and '.' is written as %XX, and so is a leading '.'. Names that begin with ".put-" are
// puts under way. '<dir>/pipeline.settings' has the settings, a file that people can read.
#include "connectors/checkpoint_files/checkpoint_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>
#include <type_traits>

#include "base/check.h"
#include "base/files.h"
#include "connectors/checkpoint_files/entry_file.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".entry";
constexpr std::string_view kRunExtension = ".run";
constexpr std::string_view kPutPrefix = ".put-";
constexpr std::string_view kSettings = "pipeline.settings";
constexpr size_t kDigits = 20;
constexpr int kLookAgain = 10;

std::string Escaped(std::string_view source) {
  std::string name;
  for (const char c : source) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || (c == '.' && !name.empty());
    name += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return name;
}

std::string Unescaped(std::string_view name) {
  std::string source;
  for (size_t i = 0; i < name.size(); ++i) {
    unsigned value = 0;
    const char* const digits = name.data() + i + 1;
    if (name[i] == '%' && i + 2 < name.size() &&
        std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2) {
      source += static_cast<char>(value);
      i += 2;
    } else {
      source += name[i];
    }
  }
  return source;
}

std::optional<int32_t> PartitionOf(std::string_view name) {
  int32_t number = 0;
  const char* const end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data(), end, number);
  return error == std::errc() && stopped == end ? std::optional(number) : std::nullopt;
}

std::string EntryName(Epoch epoch) { return fmt::format("{:0{}}{}", epoch.v, kDigits, kExtension); }

std::string RunName(RunId id) {
  return fmt::format("{:0{}}-{:0{}}{}", id.owner.v, kDigits, id.number, kDigits, kRunExtension);
}

// Parses kDigits digits; 0 if they are not a number above 0.
int64_t NumberOf(std::string_view digits) {
  int64_t number = 0;
  const char* end = digits.data() + digits.size();
  const auto [stopped, error] = std::from_chars(digits.data(), end, number);
  const bool sane = digits.size() == kDigits && error == std::errc() && stopped == end;
  return sane && number > 0 ? number : 0;
}

std::optional<Epoch> EpochOf(std::string_view name) {
  if (name.size() != kDigits + kExtension.size() || !name.ends_with(kExtension)) return {};
  const int64_t number = NumberOf(name.substr(0, kDigits));
  return number > 0 ? std::optional(Epoch{number}) : std::nullopt;
}

std::optional<RunId> RunOf(std::string_view name) {
  if (name.size() != 2 * kDigits + 1 + kRunExtension.size() || !name.ends_with(kRunExtension) ||
      name[kDigits] != '-')
    return {};
  const RunId id{{NumberOf(name.substr(0, kDigits))}, NumberOf(name.substr(kDigits + 1, kDigits))};
  return id.owner.v > 0 && id.number > 0 ? std::optional(id) : std::nullopt;
}

// What `parse` returns for the names in a partition's directory, the greatest first. A directory
// that does not exist is empty.
template <typename Parse>
auto List(const fs::path& dir, Parse parse)
    -> Result<std::vector<typename std::invoke_result_t<Parse, std::string_view>::value_type>> {
  std::vector<typename std::invoke_result_t<Parse, std::string_view>::value_type> found;
  std::error_code error;
  fs::directory_iterator it(dir, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error))
    if (const auto parsed = parse(it->path().filename().native())) found.push_back(*parsed);
  if (error && error != std::errc::no_such_file_or_directory)
    return SystemError(error.value(), "list", dir);
  std::sort(found.rbegin(), found.rend());
  return found;
}
Result<std::vector<Epoch>> ListEntries(const fs::path& dir) { return List(dir, EpochOf); }

// Creates the directory and its parents. Each is durable before anything is put into it.
Status MakeDirectory(const fs::path& dir) {
  std::error_code error;
  if (dir.empty() || fs::is_directory(dir, error)) return Status::Ok();
  RETURN_IF_ERROR(MakeDirectory(dir.parent_path()));
  fs::create_directory(dir, error);
  if (error) return SystemError(error.value(), "make the directory", dir);
  return SyncDirectory(dir.has_parent_path() ? dir.parent_path() : fs::path("."));
}

// Removes the files that interrupted puts have left. If somebody is still writing one, it is an
// older owner: its link(2) fails then, and it has to begin again.
void RemoveInterruptedPuts(const fs::path& dir) {
  std::error_code error;
  std::vector<fs::path> found;
  fs::directory_iterator it(dir, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error))
    if (it->path().filename().native().starts_with(kPutPrefix)) found.push_back(it->path());
  for (const fs::path& path : found) fs::remove(path, error);
}

Status Taken(const SourcePartition& partition, Epoch epoch) {
  return Status::Rebuild(
      fmt::format("checkpoint epoch {} of '{}' partition {} is taken: a newer task owns it",
                  epoch.v, partition.source, partition.partition));
}

}  // namespace

fs::path CheckpointFiles::DirectoryOf(const SourcePartition& partition) const {
  return dir_ / Escaped(partition.source) / std::to_string(partition.partition);
}

Result<StoredCheckpoint> CheckpointFiles::Latest(const SourcePartition& partition) {
  RETURN_IF_ERROR(CheckHeld());
  if (std::find(swept_.begin(), swept_.end(), partition) == swept_.end()) {
    RemoveInterruptedPuts(DirectoryOf(partition));
    swept_.push_back(partition);
  }
  Result<StoredCheckpoint> latest = ReadLatest(partition);
  // Once more: the directory may have gone while it was read.
  RETURN_IF_ERROR(CheckHeld());
  return latest;
}

Result<StoredCheckpoint> CheckpointFiles::ReadLatest(const SourcePartition& partition) const {
  const fs::path dir = DirectoryOf(partition);
  const Result<std::vector<Epoch>> entries = ListEntries(dir);
  if (!entries.ok()) return entries.status();
  StoredCheckpoint stored;
  if (entries.value().empty()) return stored;
  stored.newest = entries.value().front();
  for (const Epoch epoch : entries.value()) {
    const EntryHeader expected{.epoch = epoch, .partition = partition};
    const fs::path path = dir / EntryName(epoch);
    const Result<EntryKind> kind = ReadEntryKind(path, expected);
    // kRetry if the entry was just removed: somebody has put a newer one, which the next call
    // finds.
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
  RETURN_IF_ERROR(CheckHeld());
  const Status put = Put(partition, epoch, writer);
  // If the directory went meanwhile, nobody knows where the entry lies, or whether the epoch was
  // taken. It is put again when the directory is back: if it lies there already, it is taken then.
  RETURN_IF_ERROR(CheckHeld());
  return put;
}

Status CheckpointFiles::Put(const SourcePartition& partition, Epoch epoch,
                            const CheckpointWriter* writer) {
  CHECK(epoch.v > 0);
  const fs::path dir = DirectoryOf(partition);
  RETURN_IF_ERROR(MakeDirectory(dir));
  Result<std::vector<Epoch>> entries = ListEntries(dir);
  if (!entries.ok()) return entries.status();
  // An epoch below the newest may be free only because its entry was removed.
  if (!entries.value().empty() && entries.value().front() >= epoch) return Taken(partition, epoch);

  const TemporaryFile put(dir, kPutPrefix);
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
  // List again. Between the first listing and the link, somebody may have put this epoch and a
  // newer checkpoint, and removed this epoch. Our file then lies behind that checkpoint, where
  // nobody looks.
  entries = ListEntries(dir);
  if (!entries.ok()) return Status::Rebuild(entries.status().message());
  if (entries.value().empty() || entries.value().front() != epoch) return Taken(partition, epoch);
  // Only what lies behind a checkpoint is removed, claims included. Without the claim of a newer
  // owner, an older one could still put its checkpoint under that epoch, and it would be believed.
  if (kind == EntryKind::kCheckpoint)
    for (const Epoch older : entries.value())
      if (older < epoch) unlink((dir / EntryName(older)).c_str());
  return Status::Ok();
}

Result<std::optional<std::string>> CheckpointFiles::Settings() {
  const fs::path path = dir_ / kSettings;
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.ok() && errno == ENOENT) return std::optional<std::string>();
  if (!file.ok()) return SystemError(errno, "read", path);
  std::string text;
  char piece[4096];
  ssize_t got = 0;
  while ((got = read(file.fd(), piece, sizeof piece)) > 0) text.append(piece, got);
  if (got < 0) return SystemError(errno, "read", path);
  return std::optional(std::move(text));
}

Status CheckpointFiles::PutSettingsIfAbsent(std::string_view text) {
  RETURN_IF_ERROR(MakeDirectory(dir_));
  const TemporaryFile put(dir_, kPutPrefix);
  {
    const File file(open(put.path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!file.ok()) return SystemError(errno, "create", put.path());
    while (!text.empty()) {
      const ssize_t wrote = write(file.fd(), text.data(), text.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return SystemError(errno, "write", put.path());
      text.remove_prefix(static_cast<size_t>(wrote));
    }
    if (fsync(file.fd()) != 0) return SystemError(errno, "sync", put.path());
  }
  const fs::path path = dir_ / kSettings;
  if (link(put.path().c_str(), path.c_str()) != 0 && errno != EEXIST)
    return SystemError(errno, "link", path);
  return SyncDirectory(dir_);
}

Result<std::vector<SourcePartition>> CheckpointFiles::Partitions() {
  std::vector<SourcePartition> found;
  const auto any = [](std::string_view name) { return std::optional(std::string(name)); };
  const auto sources = List(dir_, any);
  if (!sources.ok()) return sources.status();
  for (const std::string& source : sources.value()) {
    std::error_code error;
    if (source.starts_with('.') || !fs::is_directory(dir_ / source, error)) continue;
    const auto partitions = List(dir_ / source, PartitionOf);
    if (!partitions.ok()) return partitions.status();
    for (const int32_t partition : partitions.value())
      found.push_back({Unescaped(source), partition});
  }
  std::ranges::sort(found);
  return found;
}

Result<std::optional<std::string>> CheckpointFiles::NewestCheckpoint(
    const SourcePartition& partition) {
  // An owner may remove an entry between our listing and our reading it: look again.
  Result<StoredCheckpoint> stored = ReadLatest(partition);
  for (int again = 0; again < kLookAgain && stored.status().code() == StatusCode::kRetry; ++again)
    stored = ReadLatest(partition);
  if (!stored.ok()) return stored.status();
  return std::move(stored).value().checkpoint;
}

fs::path CheckpointFiles::RunPath(const SourcePartition& partition, RunId id) const {
  return DirectoryOf(partition) / RunName(id);
}

Status CheckpointFiles::PutRun(const SourcePartition& partition, RunId id, std::string_view bytes) {
  RETURN_IF_ERROR(CheckHeld());
  const Status put = PutRunFile(partition, id, bytes);
  RETURN_IF_ERROR(CheckHeld());
  return put;
}

Status CheckpointFiles::PutRunFile(const SourcePartition& partition, RunId id,
                                   std::string_view bytes) {
  CHECK(id.owner.v > 0 && id.number > 0);
  const fs::path dir = DirectoryOf(partition);
  RETURN_IF_ERROR(MakeDirectory(dir));
  const TemporaryFile put(dir, kPutPrefix);
  const CheckpointWriter writer = [bytes](const ByteSink& out) { out(bytes); };
  RETURN_IF_ERROR(WriteEntry(
      put.path(),
      {.kind = EntryKind::kRun, .epoch = id.owner, .partition = partition, .number = id.number},
      &writer));
  const fs::path path = dir / RunName(id);
  if (link(put.path().c_str(), path.c_str()) != 0) {
    if (errno == EEXIST)
      return Status::Retry(fmt::format("the spilled run '{}' exists already", path.native()));
    if (errno == ENOENT)
      return Status::Rebuild(fmt::format(
          "'{}' was removed: a newer task has begun with its partition", put.path().native()));
    return SystemError(errno, "link", path);
  }
  return SyncDirectory(dir);
}

Result<std::string> CheckpointFiles::ReadRun(const SourcePartition& partition, RunId id) {
  Result<std::string> bytes = ReadRunFile(RunPath(partition, id), partition, id);
  // A run that is missing because the directory is gone is not lost.
  if (!bytes.ok()) RETURN_IF_ERROR(CheckHeld());
  return bytes;
}

Status CheckpointFiles::RemoveRuns(const SourcePartition& partition, Epoch newest,
                                   std::span<const RunId> kept) {
  RETURN_IF_ERROR(CheckHeld());
  const fs::path dir = DirectoryOf(partition);
  // List the runs first: a run that a newer owner puts after the check below is then not in the
  // list.
  const auto runs = List(dir, RunOf);
  if (!runs.ok()) return runs.status();
  const Result<std::vector<Epoch>> entries = ListEntries(dir);
  if (!entries.ok()) return entries.status();
  if (entries.value().empty() || entries.value().front() != newest)
    return Status::Rebuild(fmt::format(
        "checkpoint epoch {} of '{}' partition {} is not the newest: a newer task owns it",
        newest.v, partition.source, partition.partition));
  for (const RunId& id : runs.value())
    if (id.owner <= newest && std::find(kept.begin(), kept.end(), id) == kept.end())
      unlink((dir / RunName(id)).c_str());
  return Status::Ok();
}

}  // namespace sightline
