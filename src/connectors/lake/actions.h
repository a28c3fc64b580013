// The actions of a Delta Lake commit log as values. Names and meanings are those of the protocol.
// Source: the Delta transaction log protocol, reader version 1, writer version 2.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/strong.h"
#include "model/types.h"

namespace sightline::lake {

using Version = Strong<struct VersionTag>;  // of a table: the number of its newest commit

constexpr Version kNoVersion{-1};

struct PartitionValue {
  std::string column;
  std::optional<std::string> value;
  friend auto operator<=>(const PartitionValue&, const PartitionValue&) = default;
};
using PartitionValues = std::vector<PartitionValue>;  // sorted by column

struct AddFile {
  std::string path;  // as in the log: URL-encoded, relative to the table
  PartitionValues partition_values;
  int64_t size_bytes = 0;
  int64_t modified_ms = 0;
  std::string stats;  // JSON, or empty
  std::map<std::string, std::string> tags;
  bool data_change = true;  // false: its commit took its rows from other files
};
using FilePtr = std::shared_ptr<const AddFile>;  // shared by the snapshots that have the file

// A file that has left the table. Older snapshots may still read it.
struct Tombstone {
  std::string path;
  int64_t deleted_ms = 0;
  PartitionValues partition_values;
  int64_t size_bytes = 0;
  bool data_change = true;  // false: its rows are in other files of the same commit
};

struct Metadata {
  std::string id;
  std::string name, description;
  std::string schema_json;
  std::vector<std::string> partition_columns;
  std::map<std::string, std::string> configuration;
  int64_t created_ms = 0;
};

struct Protocol {
  int64_t reader = 1;
  int64_t writer = 2;
};

constexpr std::string_view kOurEngine = "Sightline";  // in our commits

// Who made a commit, when, and by which operation.
struct CommitInfo {
  int64_t timestamp_ms = 0;
  std::string operation;
  std::string engine;
  std::string id;  // of this commit; its writer chose it at random
};

// One commit as it was read.
struct Commit {
  CommitInfo info;
  std::vector<AddFile> adds;
  std::vector<Tombstone> removes;
  std::vector<std::pair<std::string, int64_t>> txns;
  std::optional<Metadata> metadata;
  std::optional<Protocol> protocol;
  size_t mark = 0;  // CommitMark() of its file

  bool IsOurs() const { return info.engine == kOurEngine; }
};

// How many of a commit file's first bytes tell it from every other: they hold its random id.
constexpr int64_t kCommitMarkBytes = 1024;
inline size_t CommitMark(std::string_view file) {
  return std::hash<std::string_view>()(file.substr(0, kCommitMarkBytes));
}

// What a new commit is to do.
struct Change {
  std::string operation;  // for the table's history: WRITE, OPTIMIZE, DELETE, ...
  std::vector<AddFile> adds;
  std::vector<FilePtr> removes;
  // When `removes` leave, by the storage's clock: vacuum counts from it. CommitChange() sets it.
  int64_t removed_ms = 0;
  bool data_change = true;  // false: the same rows in other files
  std::map<std::string, int64_t> txns;
  std::optional<Metadata> metadata;
  std::optional<Protocol> protocol;
};

}  // namespace sightline::lake
