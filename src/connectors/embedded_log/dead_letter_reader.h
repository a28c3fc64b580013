// DeadLetterReader: reads the topics dead_letters and late_detections beside the log's owner.
//
// It has a read-only connection of its own, so it works while a server has the log open
// (write-ahead log), and also when none has. It holds no snapshot between calls, because that would
// keep the write-ahead log from starting over. One thread. It does not expose SQLite.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/embedded_log/dead_letter_record.h"
#include "model/types.h"

namespace sightline {

class DeadLetterReader {
 public:
  // `dir` is a data folder. kStop: there is no log in it, or it cannot be read.
  static Result<std::unique_ptr<DeadLetterReader>> Open(const std::string& dir);
  ~DeadLetterReader();

  const std::string& log_id() const { return log_id_; }
  int32_t partitions() const { return partitions_; }

  // The offsets [oldest, next) that a topic's partition holds now. Both are 0 if nothing was ever
  // appended to it.
  struct Held {
    Offset oldest, next;
  };
  Result<Held> Look(std::string_view topic, int32_t partition);

  struct Entry {
    Offset offset;  // in the topic
    DeadLetterRecord record;
  };
  // Reads about 1 MiB of entries from `from` on, all before `end`. Empty if retention has removed
  // `from`.
  Result<std::vector<Entry>> Read(std::string_view topic, int32_t partition, Offset from,
                                  Offset end);

 private:
  struct File;
  explicit DeadLetterReader(std::unique_ptr<File> file);
  std::unique_ptr<File> file_;
  std::string log_id_;
  int32_t partitions_ = 0;
};

}  // namespace sightline
