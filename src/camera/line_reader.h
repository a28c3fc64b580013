// LineReader: reads lines from a file or standard input, plain or gzip; the first two bytes decide.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "camera/gzip.h"

namespace sightline {

// Not thread-safe.
class LineReader {
 public:
  static constexpr int64_t kLineBytesMax = 4 << 20;  // longer lines are skipped, with a log line

  // "-" is standard input. kStop when the file cannot be opened.
  static Result<std::unique_ptr<LineReader>> Open(const std::string& path);
  ~LineReader();

  // The next line without its line break, valid until the next call; none at the end, or soon after
  // `stop` is set. A last line need not end with a line break. kStop when reading fails.
  Result<std::optional<std::string_view>> Next(const std::atomic<bool>& stop);

 private:
  LineReader(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  Status Fill(const std::atomic<bool>& stop);

  const std::string path_;
  const int fd_;
  bool started_ = false;  // the first bytes were checked for gzip
  std::unique_ptr<Gunzip> gunzip_;
  bool end_ = false;
  bool skipping_ = false;  // inside a line that is too long
  std::string buffer_;
  size_t next_ = 0;     // the first byte that was not returned yet
  size_t scanned_ = 0;  // no line break from next_ to here
};

}  // namespace sightline
