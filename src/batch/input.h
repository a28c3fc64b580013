// Input: reads files one after the other, as blocks of whole values. An array or an object may have
// many lines: an array goes on in the next block as an array of its own.
//
// It reads plain, gzip and zstd files, which it recognises by their first bytes, and standard input
// ("-").
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sightline {

// Whole values of one file, with kDecodePadding readable bytes behind them.
struct LineBlock {
  std::vector<char> storage;
  size_t size = 0;
  std::string_view text() const { return {storage.data(), size}; }
};

class Input {
 public:
  explicit Input(std::vector<std::string> paths);
  ~Input();

  // Reads the next block. False: the last file has ended. kStop names a file that cannot be read or
  // decompressed, or that is UTF-16 or CSV.
  Result<bool> Next(LineBlock* block);

  int64_t bytes_read() const;   // before decompression
  int64_t bytes_total() const;  // the size of the files on disk; 0: not known (standard input)

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
