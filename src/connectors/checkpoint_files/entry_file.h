// The file of one entry or run of CheckpointFiles: written completely or not at all, and checked
// when it is read. entry_file.cc draws its layout.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "engine/checkpoint_store.h"
#include "model/types.h"

namespace sightline {

enum class EntryKind : uint8_t { kClaim = 0, kCheckpoint = 1, kRun = 2 };

// What an entry says about itself; it is compared with where the entry lies.
struct EntryHeader {
  EntryKind kind = EntryKind::kClaim;
  Epoch epoch;
  SourcePartition partition;
  int64_t number = 0;  // of a run; `epoch` is its owner
};

// Writes the entry to `path`, which must not exist, and makes the file durable (but not its name:
// the caller syncs the directory). Removes the file if that fails. kRetry: the disk is full, or the
// write failed. A null writer writes a claim.
Status WriteEntry(const std::filesystem::path& path, const EntryHeader& header,
                  const CheckpointWriter* writer);

// kStop if the file is damaged, or is not the entry `expected` (its kind may differ).
Result<EntryKind> ReadEntryKind(const std::filesystem::path& path, const EntryHeader& expected);
Result<std::string> ReadCheckpoint(const std::filesystem::path& path, const EntryHeader& expected);
// Reads a run. kStop also if the file does not exist.
Result<std::string> ReadRunFile(const std::filesystem::path& path, const SourcePartition& partition,
                                RunId id);

}  // namespace sightline
