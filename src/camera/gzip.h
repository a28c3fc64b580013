// Compresses request bodies and decompresses recordings with gzip. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline {

// Makes one gzip member at zlib's fastest level: an edge device has little CPU, and NDJSON
// compresses well anyway.
std::string Gzip(std::string_view bytes);

// Decompresses a stream piece by piece. Concatenated members (cat a.gz b.gz) are one stream.
class Gunzip {
 public:
  Gunzip();
  ~Gunzip();
  // Appends the decompressed `bytes` to `out`. kStop when they are not valid gzip.
  Status Push(std::string_view bytes, std::string* out);
  // False when the stream so far ends inside a member.
  bool complete() const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace sightline
