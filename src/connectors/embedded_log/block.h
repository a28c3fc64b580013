// Block: the records of one stored batch in memory. It is written once, then shared and never
// changed.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "model/types.h"

namespace sightline::embedded_log {

// The readable bytes behind the last record: the decoder needs kDecodePadding of them
// (operators/decode.h, a room that connectors do not see).
constexpr size_t kPadding = 64;

struct Block {
  Offset first, next;
  AppendTime append_time = kNoAppendTime;
  std::string bytes;  // the records, each a varint length and its bytes; then kPadding zeros

  std::string_view records() const {
    return std::string_view(bytes).substr(0, bytes.size() - kPadding);
  }
  // The memory that the block takes. It includes the overhead, so that many small blocks are
  // bounded, too.
  int64_t memory() const { return static_cast<int64_t>(bytes.capacity() + sizeof(Block) + 64); }
};

// The CRC-32 of a row: of its columns, as encoded by the caller, and then of its blob.
inline uint32_t RowCrc(const ByteWriter& columns, std::string_view blob) {
  const auto crc = [](uLong seed, std::string_view bytes) {
    return crc32_z(seed, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  };
  return static_cast<uint32_t>(crc(crc(crc32_z(0, nullptr, 0), columns.bytes()), blob));
}

// The number of packed records; -1 if the bytes are not packed records.
inline int64_t CountPacked(std::string_view packed) {
  ByteReader in(packed);
  int64_t count = 0;
  for (; in.ok() && in.remaining() > 0; ++count) in.String();
  return in.ok() ? count : -1;
}

}  // namespace sightline::embedded_log
