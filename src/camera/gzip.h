// gzip both ways: a request's body, and a recording that may or may not be compressed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline {

// One gzip member at zlib's fastest level: the edge has little CPU, and NDJSON repeats itself.
std::string Gzip(std::string_view bytes);

// Decompresses a stream piece by piece; concatenated members (cat a.gz b.gz) are one stream.
class Gunzip {
 public:
  Gunzip();
  ~Gunzip();
  // Appends what `bytes` decompress to. kStop when they are no gzip.
  Status Push(std::string_view bytes, std::string* out);
  // False when the stream so far ends inside a member.
  bool complete() const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace sightline
