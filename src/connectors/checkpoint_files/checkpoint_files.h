// CheckpointFiles: a CheckpointStore and a SettingsStore on any storage: a local disk, HDFS.
//
// Each entry is a small file, put only if its name is free: of two owners one wins. It has the
// random id of its owner. So an entry that is found after an answer was lost is known for one's
// own, or for another's. A checkpoint's bytes are its body, a file of a name that nobody else
// gives. The body is durable before the entry that names it, with its size and checksum, is put. So
// a put that ends in the middle leaves garbage, and no checkpoint. Spilled runs are files beside
// the entries. A put on a full disk is kRetry. A damaged newest checkpoint is kStop, because using
// an older one would silently go back in time.
//
// A storage that is away, refuses, or does not know its folder any more is kRetry: only what lies
// there can stop a task.
//
// Used by one thread at a time. Instances of several tasks, also in several processes, may share a
// folder.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/checkpoint_files/entry_file.h"
#include "connectors/storage/storage.h"
#include "engine/checkpoint_store.h"
#include "engine/settings_store.h"
#include "model/types.h"

namespace sightline {

class CheckpointFiles final : public CheckpointStore, public SettingsStore {
 public:
  // `storage` is shared by the tasks of a process: all of them hold one folder. `place` is its URL,
  // for messages. `owner` is unique for each instance.
  CheckpointFiles(std::shared_ptr<Storage> storage, std::string place,
                  std::string owner = NewOwner())
      : storage_(std::move(storage)), place_(std::move(place)), owner_(std::move(owner)) {}
  // A random id.
  static std::string NewOwner();

  // The first call for a partition also removes what interrupted puts have left there.
  Result<StoredCheckpoint> Latest(const SourcePartition& partition) override;
  Status PutIfAbsent(const SourcePartition& partition, Epoch epoch,
                     const ByteSpool* checkpoint) override;
  Status PutRun(const SourcePartition& partition, RunId id, std::string_view bytes) override;
  Result<std::string> ReadRun(const SourcePartition& partition, RunId id) override;
  // Also removes bodies that no entry names.
  Status RemoveRuns(const SourcePartition& partition, Epoch newest,
                    std::span<const RunId> kept) override;

  Result<std::optional<std::string>> Settings() override;
  Status PutSettingsIfAbsent(std::string_view text) override;
  Result<std::vector<SourcePartition>> Partitions() override;
  Result<std::optional<std::string>> NewestCheckpoint(const SourcePartition& partition) override;

  // Where a run lies below the folder.
  static std::string RunPath(const SourcePartition& partition, RunId id);

 private:
  // The names in a partition's folder.
  struct Listing {
    std::vector<Epoch> entries;       // the newest first
    std::vector<RunId> runs;          // in any order
    std::vector<std::string> bodies;  // in any order
    std::vector<std::string> left;    // by interrupted puts
  };

  Result<Listing> List(const SourcePartition& partition);
  Result<StoredCheckpoint> ReadLatest(const SourcePartition& partition);
  Result<StoredEntry> ReadEntry(const SourcePartition& partition, Epoch epoch);
  Result<std::string> ReadCheckpoint(const SourcePartition& partition, Epoch newest, Epoch epoch,
                                     const StoredEntry& entry);
  Result<BodyName> PutBody(const SourcePartition& partition, Epoch epoch,
                           const ByteSpool& checkpoint);
  Status PutEntry(const SourcePartition& partition, Epoch epoch, const StoredEntry& entry);
  Status ConfirmEntry(const SourcePartition& partition, Epoch epoch, const StoredEntry& entry);
  Status RemoveOlder(const SourcePartition& partition, const Listing& listing,
                     const std::string& body);
  Status RemoveBodies(const SourcePartition& partition, const Listing& listing, Epoch newest,
                      const std::string& named);
  // As messages name a path.
  std::string Where(const std::string& path) const { return place_ + "/" + path; }

  std::shared_ptr<Storage> storage_;  // shared: with the process's other tasks
  std::string place_;
  std::string owner_;
  int64_t bodies_put_ = 0;
  std::vector<SourcePartition> swept_;  // partitions where interrupted puts were removed
};

}  // namespace sightline
