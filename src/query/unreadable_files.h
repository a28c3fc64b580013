// UnreadableFiles: the files of the lake that made queries fail, until they can be read again or
// are no longer part of the lake. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "query/lake_source.h"

namespace sightline {

class UnreadableFiles {
 public:
  // Reads all of a file and returns why that fails; empty: it can be read.
  using ReadFile = std::function<std::string(const std::string& path)>;
  explicit UnreadableFiles(ReadFile read) : read_(std::move(read)) {}

  // Looks for a file of `state` in the message of a failed query, and remembers it if it cannot be
  // read: a message may also name a file because the query asked for that.
  void Note(const LakeState& state, const std::string& message);
  void Add(const std::string& path, const std::string& why);
  // Reads what is remembered again, and returns why one cannot be read. Empty: all can be read.
  std::string Trouble(LakeSource& source);
  // The same without reading: why one could not be read when it was read last.
  std::string Known() const;
  // Forgets the files and returns why each cannot be read, by path.
  std::map<std::string, std::string> Take();

 private:
  const ReadFile read_;
  mutable std::mutex mutex_;
  std::map<std::string, std::string> files_;  // why each cannot be read, by path; under mutex_
};

}  // namespace sightline
