// DataFolder: where each thing in the data folder of a process lies, and the address of the server
// that owns the folder, for commands that ask it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline {

// What the file `address` holds, a line each: the URL, and the `boot` of the server's /healthz.
// Another server may have taken the address since. A third line is the identity of the folder
// (device and inode), because a copy of the folder has a copy of the file.
struct ServerAddress {
  std::string url, boot;
};

// A value: it names paths and touches a file only where a function says so. Thread-safe.
class DataFolder {
 public:
  explicit DataFolder(std::filesystem::path path) : path_(std::move(path)) {}

  // Makes the folder if it is not there. kStop: it cannot be made.
  Status Create() const;

  std::string path() const { return path_.string(); }
  std::string lake() const { return (path_ / "lake").string(); }  // unless lake.dir says otherwise
  std::string checkpoints() const { return (path_ / "checkpoints").string(); }
  std::string pending() const { return (path_ / "pending").string(); }
  // Copies of the files of a lake that lies elsewhere, for queries. Each step has its own.
  std::string lake_cache(std::string_view step = {}) const;
  std::string demo() const { return (path_ / "demo").string(); }
  std::string redrive_cursor() const { return (path_ / "redrive.json").string(); }
  std::string redrive_lock() const { return (path_ / "redrive.lock").string(); }
  // The copy of the location table that a process used last. Several processes may share a folder,
  // so each step but `up` has a copy of its own.
  std::string last_good_locations(std::string_view step = {}) const;

  // Remembers the tables of the lake. Each step but `up` may write a lake of its own.
  std::string known_tables(std::string_view step = {}) const;

  // kStop: the file cannot be written.
  Status WriteAddress(const ServerAddress& address) const;
  void RemoveAddress() const;
  // `sightline clock accept` leaves here the time of the clock that it accepts; the process that
  // takes it removes it. kStop: the file cannot be written.
  Status WriteAcceptedTime(int64_t wall_ms) const;
  std::optional<int64_t> TakeAcceptedTime() const;
  bool HasAcceptedTime() const;
  // Nothing if no server says that it owns this very folder. A server that was killed leaves its
  // address.
  std::optional<ServerAddress> ReadAddress() const;

 private:
  const std::filesystem::path path_;
};

// Whether an answer of /healthz comes from the server that wrote the address.
bool IsOf(const ServerAddress& address, const std::string& health);

}  // namespace sightline
