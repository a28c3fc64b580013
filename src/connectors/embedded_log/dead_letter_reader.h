// DeadLetterReader: the records of dead_letters and late_detections, read beside the log's owner.
//
// A read-only connection of its own: works while a server has the log open (write-ahead log) and
// when none has. Holds no snapshot between calls, so that it does not keep the write-ahead log from
// starting over. One thread. Does not show SQLite.
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
  // `dir`: a data folder. kStop: there is no log, or it cannot be read.
  static Result<std::unique_ptr<DeadLetterReader>> Open(const std::string& dir);
  ~DeadLetterReader();

  const std::string& log_id() const { return log_id_; }
  int32_t partitions() const { return partitions_; }

  // What a topic's partition holds now: [oldest, next). Both 0 if it was never appended to.
  struct Held {
    Offset oldest, next;
  };
  Result<Held> Look(std::string_view topic, int32_t partition);

  struct Entry {
    Offset offset;  // in the topic
    DeadLetterRecord record;
  };
  // From `from` on, about a MiB of them, all before `end`; empty if retention has removed `from`.
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
