// FileKeeper: the port to copies of a lake's files, for a lake whose own files cannot be opened by
// path. Queries read the copies. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/metric.h"
#include "base/status.h"

namespace sightline {

struct NeededFile {
  std::string path;   // below the lake's folder
  int64_t bytes = 0;  // by the log of its table
};

// When a question stops waiting for its files.
struct HoldLimits {
  std::chrono::steady_clock::time_point deadline;
  // Asked every few milliseconds. Its failure ends the wait and is returned. Null: none.
  std::function<Status()> go_on;
};

struct Holding {
  // kRetry: the place of the lake does not answer, or not all files came before the deadline; those
  // that came are kept. kStop: a file is missing or damaged, or they are too large together.
  Status status = Status::Ok();
  // Keeps the copies until it is destroyed. It must not outlive the keeper.
  std::shared_ptr<const void> files;
  bool too_large = false;   // the files need more room than there is
  std::string failed_path;  // the file that could not be fetched, below the lake's folder
};

class FileKeeper {
 public:
  virtual ~FileKeeper() = default;
  // Waits until there are whole copies of all `files`, and keeps them.
  virtual Holding Hold(const std::vector<NeededFile>& files, const HoldLimits& limits) = 0;
  // A question has failed at the copy of a file: the next one that needs it gets a new copy.
  virtual void Distrust(const std::string& path) = 0;
  virtual std::vector<Metric> metrics() const = 0;
};

}  // namespace sightline
