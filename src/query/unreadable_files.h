// UnreadableFiles: the files of the lake that made queries fail, until they can be read again or
// are no longer part of the lake. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "query/duck.h"
#include "query/lake_source.h"

namespace sightline {

class UnreadableFiles {
 public:
  // Looks for a file of `state` in the message of a failed query, and remembers it if it cannot be
  // read: a message may also name a file because the query asked for that.
  void Note(const LakeState& state, const std::string& message, const duck::Database& database);
  // Reads what is remembered again, and returns why one cannot be read. Empty: all can be read.
  std::string Trouble(LakeSource& source, const duck::Database& database);

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> files_;  // why each cannot be read, by path; under mutex_
};

}  // namespace sightline
