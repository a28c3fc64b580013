// Layout: '<source>/<partition>/<epoch>.entry', with the epoch in 20 digits. Claims and checkpoints
// share these names, so that they collide. Beside them, a checkpoint's bytes are
// '<epoch>-<owner>-<number>.body', and a spilled run is '<owner's claim>-<number>.run', both in 20
// digits. In <source>, everything but letters, digits, '-', '_' and '.' is written as %XX, and so
// is a leading '.'. Names that begin with ".put-" are puts under way. 'pipeline.settings' has the
// settings, a file that people can read.
#include "connectors/checkpoint_files/checkpoint_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <random>
#include <utility>

#include "base/check.h"
#include "base/mutant.h"

namespace sightline {
namespace {

constexpr std::string_view kExtension = ".entry";
constexpr std::string_view kRunExtension = ".run";
constexpr std::string_view kBodyExtension = ".body";
constexpr std::string_view kSettings = "pipeline.settings";
constexpr size_t kDigits = 20;
constexpr int kLookAgain = 10;
constexpr int64_t kPieceBytes = 256 << 10;

std::string Escaped(std::string_view source) {
  if (source.empty()) return "%";
  std::string name;
  for (const char c : source) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || (c == '.' && !name.empty());
    name += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return name;
}

std::string Unescaped(std::string_view name) {
  if (name == "%") return "";
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

std::string FolderOf(const SourcePartition& partition) {
  return fmt::format("{}/{}", Escaped(partition.source), partition.partition);
}

std::optional<int32_t> PartitionOf(std::string_view name) {
  int32_t number = 0;
  const char* const end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data(), end, number);
  return error == std::errc() && stopped == end ? std::optional(number) : std::nullopt;
}

std::string EntryPath(const SourcePartition& partition, Epoch epoch) {
  return fmt::format("{}/{:0{}}{}", FolderOf(partition), epoch.v, kDigits, kExtension);
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

// The epoch for which a body was put; {0} if the name is none of a body.
Epoch EpochOfBody(std::string_view name) {
  if (name.size() <= kDigits || name[kDigits] != '-' || !name.ends_with(kBodyExtension)) return {0};
  return {NumberOf(name.substr(0, kDigits))};
}

// What a storage refuses may be corrected while everything else goes on: nobody stops for it.
Status Waits(const Status& status) {
  return status.code() == StatusCode::kStop ? Status::Retry(status.message()) : status;
}

Status Taken(const SourcePartition& partition, Epoch epoch) {
  return Status::Rebuild(
      fmt::format("checkpoint epoch {} of '{}' partition {} is taken: a newer task owns it",
                  epoch.v, partition.source, partition.partition));
}

Content ContentOf(const ByteSpool& spool) {
  return spool.fd() < 0 ? Content(spool.in_memory()) : Content::OfFile(spool.fd(), spool.size());
}

Result<uint32_t> CrcOf(const Content& content) {
  Crc crc;
  std::vector<char> piece(static_cast<size_t>(std::min(content.size(), kPieceBytes)));
  for (int64_t offset = 0; offset < content.size();) {
    const Result<size_t> got = content.Read(offset, piece);
    if (!got.ok()) return got.status();
    crc.Add({piece.data(), got.value()});
    offset += static_cast<int64_t>(got.value());
  }
  return crc.value();
}

}  // namespace

std::string CheckpointFiles::NewOwner() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", random(), random(), random(), random());
}

std::string CheckpointFiles::RunPath(const SourcePartition& partition, RunId id) {
  return fmt::format("{}/{:0{}}-{:0{}}{}", FolderOf(partition), id.owner.v, kDigits, id.number,
                     kDigits, kRunExtension);
}

// ---- reading -----------------------------------------------------------------------------------

Result<CheckpointFiles::Listing> CheckpointFiles::List(const SourcePartition& partition) {
  const Result<std::vector<FileInfo>> files = storage_->List(FolderOf(partition));
  if (!files.ok()) return Waits(files.status());
  Listing listing;
  for (const FileInfo& file : files.value()) {
    const std::string_view name = std::string_view(file.path).substr(file.path.rfind('/') + 1);
    if (const auto epoch = EpochOf(name)) listing.entries.push_back(*epoch);
    if (const auto run = RunOf(name)) listing.runs.push_back(*run);
    if (EpochOfBody(name).v > 0) listing.bodies.emplace_back(name);
    if (name.starts_with(Storage::kPutPrefix)) listing.left.push_back(file.path);
  }
  std::ranges::sort(listing.entries, std::greater());
  return listing;
}

Result<StoredCheckpoint> CheckpointFiles::Latest(const SourcePartition& partition) {
  if (std::ranges::find(swept_, partition) == swept_.end()) {
    // If somebody is still writing one, it is an older owner: it has to begin again.
    const Result<Listing> listing = List(partition);
    if (!listing.ok()) return listing.status();
    for (const std::string& left : listing.value().left)
      if (const Status deleted = storage_->Delete(left); !deleted.ok()) return Waits(deleted);
    swept_.push_back(partition);
  }
  return ReadLatest(partition);
}

Result<StoredCheckpoint> CheckpointFiles::ReadLatest(const SourcePartition& partition) {
  const Result<Listing> listing = List(partition);
  if (!listing.ok()) return listing.status();
  StoredCheckpoint stored;
  if (listing.value().entries.empty()) return stored;
  stored.newest = listing.value().entries.front();
  for (const Epoch epoch : listing.value().entries) {
    const Result<StoredEntry> entry = ReadEntry(partition, epoch);
    if (!entry.ok()) return entry.status();
    if (entry.value().kind == EntryKind::kClaim) continue;
    Result<std::string> checkpoint = ReadCheckpoint(partition, stored.newest, epoch, entry.value());
    if (!checkpoint.ok()) return checkpoint.status();
    stored.checkpoint = std::move(checkpoint).value();
    break;
  }
  return stored;
}

// kRetry if the entry was just removed: somebody has put a newer one, which the next call finds.
Result<StoredEntry> CheckpointFiles::ReadEntry(const SourcePartition& partition, Epoch epoch) {
  const std::string path = EntryPath(partition, epoch);
  const Result<std::optional<std::string>> head = storage_->Read(path, {0, kEntrySizeMax});
  if (!head.ok()) return Waits(head.status());
  if (!head.value()) return Status::Retry(fmt::format("'{}' was just removed", Where(path)));
  return DecodeEntry(*head.value(), Where(path), partition, epoch);
}

// The bytes of the checkpoint of an entry. `newest` is the newest entry that was found.
Result<std::string> CheckpointFiles::ReadCheckpoint(const SourcePartition& partition, Epoch newest,
                                                    Epoch epoch, const StoredEntry& entry) {
  const bool is_beside = entry.body.has_value();
  const std::string path =
      is_beside ? FolderOf(partition) + "/" + entry.body->name : EntryPath(partition, epoch);
  Result<std::optional<std::string>> read = storage_->ReadWhole(path);
  if (!read.ok()) return Waits(read.status());
  if (read.value() && is_beside) {
    RETURN_IF_ERROR(CheckBody(*read.value(), *entry.body, Where(path)));
    return *std::move(read).value();
  }
  if (read.value())
    return DecodeCheckpointInside(*std::move(read).value(), Where(path), partition, epoch);
  // An entry is removed before its body. So a newer one is there, unless the body is lost.
  const Result<Listing> now = List(partition);
  if (!now.ok()) return now.status();
  if (now.value().entries.empty() || now.value().entries.front() != newest || !is_beside)
    return Status::Retry(fmt::format("'{}' was just removed", Where(path)));
  return DamagedFile(Where(path), "it is missing, and an entry names it");
}

// ---- putting -----------------------------------------------------------------------------------

Status CheckpointFiles::PutIfAbsent(const SourcePartition& partition, Epoch epoch,
                                    const ByteSpool* checkpoint) {
  CHECK(epoch.v > 0);
  Result<Listing> listing = List(partition);
  if (!listing.ok()) return listing.status();
  // An epoch below the newest may be free only because its entry was removed.
  if (!listing.value().entries.empty() && listing.value().entries.front() >= epoch)
    return Taken(partition, epoch);

  StoredEntry entry{.owner = owner_};
  if (checkpoint != nullptr) {
    const Result<BodyName> body = PutBody(partition, epoch, *checkpoint);
    if (!body.ok()) return body.status();
    entry.kind = EntryKind::kCheckpoint;
    entry.body = body.value();
  }
  RETURN_IF_ERROR(PutEntry(partition, epoch, entry));
  // List again. Between the first listing and the put, somebody may have put this epoch and a newer
  // checkpoint, and removed this epoch. Our entry then lies behind that checkpoint, where nobody
  // looks.
  listing = List(partition);
  if (!listing.ok()) return Status::Rebuild(listing.status().message());
  if (listing.value().entries.empty() || listing.value().entries.front() != epoch)
    return Taken(partition, epoch);
  // What cannot be removed now is removed later.
  if (entry.body) (void)RemoveOlder(partition, listing.value(), entry.body->name);
  return Status::Ok();
}

// The name is used once, also by this instance: a put whose answer was lost may land later.
Result<BodyName> CheckpointFiles::PutBody(const SourcePartition& partition, Epoch epoch,
                                          const ByteSpool& checkpoint) {
  const Content content = ContentOf(checkpoint);
  const Result<uint32_t> crc = CrcOf(content);
  if (!crc.ok()) return crc.status();
  BodyName body{.name = fmt::format("{:0{}}-{}-{}{}", epoch.v, kDigits, owner_, ++bodies_put_,
                                    kBodyExtension),
                .size = content.size(),
                .crc = crc.value()};
  const Result<PutOutcome> put =
      storage_->Put(FolderOf(partition) + "/" + body.name, content, PutMode::kReplace);
  if (!put.ok() && !Mutated(Mutant::kEntryBeforeBody)) return Status::Retry(put.status().message());
  return body;
}

Status CheckpointFiles::PutEntry(const SourcePartition& partition, Epoch epoch,
                                 const StoredEntry& entry) {
  const std::string bytes = EncodeEntry(partition, epoch, entry);
  const Result<PutOutcome> put =
      storage_->Put(EntryPath(partition, epoch), bytes, PutMode::kIfAbsent);
  if (put.ok() && put.value() == PutOutcome::kWritten) return Status::Ok();
  if (put.ok()) return Taken(partition, epoch);
  if (put.status().code() != StatusCode::kRebuild) return Waits(put.status());
  const Status confirmed = ConfirmEntry(partition, epoch, entry);
  return confirmed.ok() ? confirmed : Status::Rebuild(confirmed.message());
}

// After a put whose outcome is unknown. What lies there is ours only if it has our id: two owners
// may have tried to put the same.
Status CheckpointFiles::ConfirmEntry(const SourcePartition& partition, Epoch epoch,
                                     const StoredEntry& entry) {
  const Result<StoredEntry> found = ReadEntry(partition, epoch);
  if (!found.ok()) return found.status();
  const bool is_ours = found.value().owner == owner_ && found.value().body == entry.body;
  if (!is_ours && !Mutated(Mutant::kAnyOwner)) return Taken(partition, epoch);
  return storage_->Confirm(EntryPath(partition, epoch));
}

Status CheckpointFiles::PutRun(const SourcePartition& partition, RunId id, std::string_view bytes) {
  CHECK(id.owner.v > 0 && id.number > 0);
  const std::string path = RunPath(partition, id);
  const Result<PutOutcome> put =
      storage_->Put(path, EncodeRunFile(partition, id, bytes), PutMode::kIfAbsent);
  if (!put.ok()) return Status::Retry(put.status().message());
  if (put.value() == PutOutcome::kTaken)
    return Status::Retry(fmt::format("the spilled run '{}' exists already", Where(path)));
  return Status::Ok();
}

Result<std::string> CheckpointFiles::ReadRun(const SourcePartition& partition, RunId id) {
  const std::string path = RunPath(partition, id);
  Result<std::optional<std::string>> read = storage_->ReadWhole(path);
  if (!read.ok()) return Waits(read.status());
  if (!read.value()) return DamagedFile(Where(path), "it is missing, and a checkpoint names it");
  return DecodeRunFile(*std::move(read).value(), Where(path), partition, id);
}

// ---- removing ----------------------------------------------------------------------------------

// Only what lies behind a checkpoint is removed, claims included. Without the claim of a newer
// owner, an older one could still put its checkpoint under that epoch, and it would be believed.
Status CheckpointFiles::RemoveOlder(const SourcePartition& partition, const Listing& listing,
                                    const std::string& body) {
  const Epoch newest = listing.entries.front();
  for (const Epoch older : listing.entries)
    if (older < newest) RETURN_IF_ERROR(storage_->Delete(EntryPath(partition, older)));
  return RemoveBodies(partition, listing, newest, body);
}

// Removes the bodies that were put for epochs up to `newest`, except the one that the newest
// checkpoint up to there names. These epochs are taken, so no entry will name any of the others.
Status CheckpointFiles::RemoveBodies(const SourcePartition& partition, const Listing& listing,
                                     Epoch newest, const std::string& named) {
  for (const std::string& body : listing.bodies)
    if (EpochOfBody(body) <= newest && body != named)
      RETURN_IF_ERROR(storage_->Delete(FolderOf(partition) + "/" + body));
  return Status::Ok();
}

Status CheckpointFiles::RemoveRuns(const SourcePartition& partition, Epoch newest,
                                   std::span<const RunId> kept) {
  // What is put by a newer owner, who claims behind this listing, is not in it.
  const Result<Listing> listing = List(partition);
  if (!listing.ok()) return listing.status();
  const std::vector<Epoch>& entries = listing.value().entries;
  const bool careless = Mutated(Mutant::kZombieRemovesRuns);
  if (!careless && (entries.empty() || entries.front() != newest))
    return Status::Rebuild(fmt::format(
        "checkpoint epoch {} of '{}' partition {} is not the newest: a newer task owns it",
        newest.v, partition.source, partition.partition));
  for (const RunId& id : listing.value().runs)
    if ((careless || id.owner <= newest) && std::ranges::find(kept, id) == kept.end())
      if (const Status deleted = storage_->Delete(RunPath(partition, id)); !deleted.ok())
        return Waits(deleted);
  if (listing.value().bodies.empty()) return Status::Ok();
  std::string named;
  for (const Epoch epoch : entries) {
    const Result<StoredEntry> entry = ReadEntry(partition, epoch);
    if (!entry.ok()) return Waits(entry.status());
    if (entry.value().kind == EntryKind::kClaim) continue;
    if (entry.value().body) named = entry.value().body->name;
    break;
  }
  return Waits(RemoveBodies(partition, listing.value(), newest, named));
}

// ---- the settings ------------------------------------------------------------------------------

Result<std::optional<std::string>> CheckpointFiles::Settings() {
  return storage_->ReadWhole(kSettings);
}

Status CheckpointFiles::PutSettingsIfAbsent(std::string_view text) {
  // A lost answer does no harm: Settings() tells what is there.
  const Result<PutOutcome> put = storage_->Put(kSettings, text, PutMode::kIfAbsent);
  return put.status().code() == StatusCode::kRebuild ? storage_->Confirm(kSettings) : put.status();
}

Result<std::vector<SourcePartition>> CheckpointFiles::Partitions() {
  const Result<std::vector<FileInfo>> files = storage_->List("");
  if (!files.ok()) return files.status();
  std::vector<SourcePartition> found;
  for (const FileInfo& file : files.value()) {
    const std::string_view path = file.path;
    const size_t source = path.find('/');
    if (source == std::string_view::npos || !EpochOf(path.substr(path.rfind('/') + 1))) continue;
    const size_t partition = path.find('/', source + 1);
    if (partition == std::string_view::npos) continue;
    if (const auto number = PartitionOf(path.substr(source + 1, partition - source - 1)))
      found.push_back({Unescaped(path.substr(0, source)), *number});
  }
  std::ranges::sort(found);
  const auto repeated = std::ranges::unique(found);
  found.erase(repeated.begin(), repeated.end());
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

}  // namespace sightline
