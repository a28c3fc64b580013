// The file of one entry or run of CheckpointFiles: written whole or not at all, checked when read.
// entry_file.cc draws its layout.
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

// What an entry says it is; compared with where it lies.
struct EntryHeader {
  EntryKind kind = EntryKind::kClaim;
  Epoch epoch;
  SourcePartition partition;
  int64_t number = 0;  // of a run; `epoch` is its owner
};

// Writes the entry to `path`, which must not exist, and makes it durable (not its name: sync the
// directory). Removes it again if that fails. kRetry: the disk is full or the write failed. A null
// writer writes a claim.
Status WriteEntry(const std::filesystem::path& path, const EntryHeader& header,
                  const CheckpointWriter* writer);

// kStop if the file is damaged or is not the entry `expected` (but for its kind).
Result<EntryKind> ReadEntryKind(const std::filesystem::path& path, const EntryHeader& expected);
Result<std::string> ReadCheckpoint(const std::filesystem::path& path, const EntryHeader& expected);
// Likewise; also if it is not there.
Result<std::string> ReadRunFile(const std::filesystem::path& path, const SourcePartition& partition,
                                RunId id);

}  // namespace sightline
