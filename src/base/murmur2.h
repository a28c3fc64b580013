// The hash of Kafka's Java producer, so that a camera's events reach the same partition whichever
// client sends them.
// Source: MurmurHash2 by Austin Appleby (public domain), with Kafka's seed 0x9747b28c.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace sightline {

inline uint32_t Murmur2(std::string_view key) {
  constexpr uint32_t kM = 0x5bd1e995;
  auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(key[i])); };
  uint32_t h = 0x9747b28c ^ static_cast<uint32_t>(key.size());
  size_t i = 0;
  for (; i + 4 <= key.size(); i += 4) {
    uint32_t k = byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16 | byte(i + 3) << 24;
    k *= kM;
    k ^= k >> 24;
    k *= kM;
    h = (h * kM) ^ k;
  }
  switch (key.size() - i) {
    case 3:
      h ^= byte(i + 2) << 16;
      [[fallthrough]];
    case 2:
      h ^= byte(i + 1) << 8;
      [[fallthrough]];
    case 1:
      h = (h ^ byte(i)) * kM;
  }
  h ^= h >> 13;
  h *= kM;
  return h ^ (h >> 15);
}

// The partition of a key that is written as decimal text, as Kafka's murmur2_random partitioner
// chooses it.
inline int32_t PartitionOfKey(int64_t key, int32_t partitions) {
  char text[24];
  const auto end = std::to_chars(text, text + sizeof text, key).ptr;
  const uint32_t hash = Murmur2({text, static_cast<size_t>(end - text)});
  return static_cast<int32_t>((hash & 0x7fffffffu) % static_cast<uint32_t>(partitions));
}

}  // namespace sightline
