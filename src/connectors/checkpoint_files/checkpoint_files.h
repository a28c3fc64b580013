// CheckpointFiles: a CheckpointStore and a SettingsStore in a directory of one machine.
//
// Each entry is a file, put by link(2), which fails if the name is taken: of two owners one wins. A
// put on a full disk is kRetry and leaves nothing behind. A damaged newest checkpoint is kStop,
// because using an older one would silently go back in time. Spilled runs are files beside the
// entries.
//
// While `dir` is not the directory that it was when it was held (its file system was unmounted),
// every call of the CheckpointStore is kRetry: an empty mount point must not be taken for a store
// without checkpoints, nor get some.
//
// Used by one task's thread. Instances of several tasks, also in several processes, may share
// `dir`.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "engine/checkpoint_store.h"
#include "engine/settings_store.h"
#include "model/types.h"

namespace sightline {

class CheckpointFiles final : public CheckpointStore, public SettingsStore {
 public:
  // `dir` is created with the first entry. `held` is what Hold() returned for it; null: nobody
  // holds it.
  explicit CheckpointFiles(std::string dir, std::shared_ptr<const HeldFolder> held = nullptr)
      : dir_(std::move(dir)), held_(std::move(held)) {}

  // Holds `dir`, which must exist: after PutSettingsIfAbsent() it does.
  Result<std::shared_ptr<const HeldFolder>> Hold() const { return HeldFolder::Open(dir_); }

  // The first call for a partition also removes what interrupted puts have left there.
  Result<StoredCheckpoint> Latest(const SourcePartition& partition) override;
  Status PutIfAbsent(const SourcePartition& partition, Epoch epoch,
                     const CheckpointWriter* writer) override;
  Status PutRun(const SourcePartition& partition, RunId id, std::string_view bytes) override;
  Result<std::string> ReadRun(const SourcePartition& partition, RunId id) override;
  Status RemoveRuns(const SourcePartition& partition, Epoch newest,
                    std::span<const RunId> kept) override;

  Result<std::optional<std::string>> Settings() override;
  Status PutSettingsIfAbsent(std::string_view text) override;
  Result<std::vector<SourcePartition>> Partitions() override;
  Result<std::optional<std::string>> NewestCheckpoint(const SourcePartition& partition) override;

  // Where a run lies, for users that link to it: the bytes outlive their removal here.
  std::filesystem::path RunPath(const SourcePartition& partition, RunId id) const;

 private:
  std::filesystem::path DirectoryOf(const SourcePartition& partition) const;
  Result<StoredCheckpoint> ReadLatest(const SourcePartition& partition) const;

  Status CheckHeld() const { return held_ == nullptr ? Status::Ok() : held_->Check(); }
  Status Put(const SourcePartition& partition, Epoch epoch, const CheckpointWriter* writer);
  Status PutRunFile(const SourcePartition& partition, RunId id, std::string_view bytes);

  const std::filesystem::path dir_;
  const std::shared_ptr<const HeldFolder> held_;
  std::vector<SourcePartition> swept_;  // partitions where interrupted puts were removed
};

}  // namespace sightline
