// Input: the bytes of files, one after the other, as blocks of whole lines.
//
// Reads plain, gzip and zstd files (by their first bytes, not their names) and standard input
// ("-").
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sightline {

// Whole lines of one file, with kDecodePadding readable bytes behind them.
struct LineBlock {
  std::vector<char> storage;
  size_t size = 0;
  std::string_view text() const { return {storage.data(), size}; }
};

class Input {
 public:
  explicit Input(std::vector<std::string> paths);
  ~Input();

  // False at the end of the last file. kStop naming the file if it cannot be read or decompressed.
  // A file that begins with '[' is one block: its array may go over any number of lines.
  Result<bool> Next(LineBlock* block);

  int64_t bytes_read() const;   // of the files as they lie on disk
  int64_t bytes_total() const;  // 0: unknown (standard input)

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
