// RekeyMap: turns one record of detections into records that have one key each, in order.
//
// A record whose detections all have the same key is passed on as it is. Any other is split into
// one record per key, in the order of their first detections. The bytes of each detection stay the
// same. What cannot be decoded keeps its bytes and its old key, and stays one malformed element. It
// has no I/O. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/event.h"
#include "operators/decode.h"
#include "pipeline/spec.h"

namespace sightline {

// Heartbeats have no detection: with kDetection they keep the key of their camera.
enum class RekeyBy : uint8_t { kCamera, kDetection };

struct KeyedRecord {
  int32_t partition = 0;
  std::optional<std::string> key;
  std::optional<std::string> value;  // none: a tombstone
  friend bool operator==(const KeyedRecord&, const KeyedRecord&) = default;
};

class RekeyMap {
 public:
  // `partitions` is the number of partitions of the topic that is written, at least 1. `rules` are
  // those of the pipeline.
  RekeyMap(RekeyBy by, const DecodeRules& rules, int32_t partitions);

  struct From {
    int32_t partition = 0;
    const std::optional<std::string>& key;
    // kDecodePadding bytes behind it are readable.
    std::string_view value;
    bool has_value = true;
  };
  void Map(const From& from, std::vector<KeyedRecord>& out);

  int64_t detections() const { return detections_; }  // includes heartbeats
  int64_t unreadable() const { return unreadable_; }  // elements that keep their old key
  int64_t split() const { return split_; }            // records that became several

 private:
  int64_t KeyOf(const Event& event) const;
  int32_t PlaceOf(const From& from) const;
  KeyedRecord Keyed(int64_t key, std::string value) const;
  void Split(const From& from, std::vector<KeyedRecord>& out);

  const RekeyBy by_;
  const int32_t partitions_;
  Decoder decoder_, again_;
  std::vector<Event> events_;
  int64_t detections_ = 0, unreadable_ = 0, split_ = 0;
};

}  // namespace sightline
