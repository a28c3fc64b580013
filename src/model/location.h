// Location: a row of the location table (Dataset B of docs/SEMANTICS.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model/types.h"

namespace sightline {

struct Location {
  LocationId location;
  std::string name;
  std::optional<double> latitude, longitude;
  std::string time_zone;  // IANA name; empty or unknown: UTC
  std::optional<LocationId> parent;
  friend bool operator==(const Location&, const Location&) = default;
};

// Which of the buckets a location belongs to, in tables that are divided by bucket. Fixed for ever,
// because readers skip files by it: the finaliser of splitmix64 (Steele, Lea, Flood 2014), which
// spreads ids, modulo kLocationBuckets. docs/LAKE.md has it for other readers.
constexpr int32_t kLocationBuckets = 16;
constexpr int32_t BucketOf(LocationId location) {
  auto x = static_cast<uint64_t>(location.v);
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return static_cast<int32_t>((x ^ (x >> 31)) % kLocationBuckets);
}

}  // namespace sightline
