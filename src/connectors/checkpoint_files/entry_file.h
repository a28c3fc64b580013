// The bytes of one entry or run of CheckpointFiles, checked when they are read. entry_file.cc draws
// their layout.
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

// The file that has a checkpoint's bytes.
struct BodyName {
  std::string name;  // beside the entry
  int64_t size = 0;
  uint32_t crc = 0;  // CRC-32 (zlib) of all bytes
  friend bool operator==(const BodyName&, const BodyName&) = default;
};

struct StoredEntry {
  EntryKind kind = EntryKind::kClaim;
  std::string owner;             // the random id of its owner; empty in an entry of format 1
  std::optional<BodyName> body;  // of a checkpoint; an entry of format 1 has the bytes inside
};

// An entry has at most so many bytes, unless it is a checkpoint of format 1.
constexpr int64_t kEntrySizeMax = 128 * 1024;

std::string EncodeEntry(const SourcePartition& partition, Epoch epoch, const StoredEntry& entry);
std::string EncodeRunFile(const SourcePartition& partition, RunId id, std::string_view bytes);

// The files are known by their paths, `where`, in messages. kStop: the bytes are damaged, of an
// unknown format, or of another entry or run than the one that must lie there.
//
// `head` are the first kEntrySizeMax bytes of the entry's file. Of a checkpoint of format 1 only
// the header is checked.
Result<StoredEntry> DecodeEntry(std::string_view head, const std::string& where,
                                const SourcePartition& partition, Epoch epoch);
// The checkpoint inside of an entry of format 1. `bytes` is the whole file, and is used up.
Result<std::string> DecodeCheckpointInside(std::string bytes, const std::string& where,
                                           const SourcePartition& partition, Epoch epoch);
// What the entry says of the body: kStop unless these are its bytes.
Status CheckBody(std::string_view bytes, const BodyName& body, const std::string& where);
Result<std::string> DecodeRunFile(std::string bytes, const std::string& where,
                                  const SourcePartition& partition, RunId id);
// Reads a run from a file of this machine. kStop also if it does not exist.
Result<std::string> ReadRunFile(const std::filesystem::path& path, const SourcePartition& partition,
                                RunId id);
Status DamagedFile(const std::string& where, std::string_view what);

// CRC-32 (zlib) of bytes that come in pieces.
class Crc {
 public:
  void Add(std::string_view bytes);
  uint32_t value() const { return value_; }

 private:
  uint32_t value_ = 0;
};

}  // namespace sightline
