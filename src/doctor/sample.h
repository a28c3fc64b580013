// Sample: what the doctor remembers of the messages that it was shown.
//
// It decodes as the pipeline would, after it has seen in the first elements how times are written.
// It keeps one short row for each detection, and looks at most at elements_max elements; then
// Full() is true, and further messages are ignored. Pure; one thread.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/event.h"
#include "operators/decode.h"

namespace sightline {

struct SampleMessage {
  std::string_view bytes;  // kDecodePadding bytes behind it are readable
  AppendTime append_time = kNoAppendTime;
  std::optional<int32_t> partition{};  // none: of a file
  int64_t place = 0;                   // the offset, or the line of the first byte, from 1
  std::optional<std::string_view> key{};
};

class Sample {
 public:
  // A detection, as far as it is needed to tell what becomes of it.
  struct Row {
    EventTime time;
    AppendTime append_time;
    LocationId location;
    DetectionId id;
    int64_t place = 0;
    int32_t partition = 0;  // -1: of a file
    uint32_t camera = 0;    // of cameras()
    uint32_t item = 0;      // of items()
  };
  struct Camera {
    CameraId id;
    int64_t detections = 0;
    std::map<TimeUnit, int64_t> units{};  // of those that were looked at
    std::set<int32_t> partitions{};
  };
  struct Item {
    std::string name;        // as it was sent
    std::string normalized;  // in normalization form C
    int64_t detections = 0;
  };
  // The malformed elements of one reason and field.
  struct Malformed {
    int64_t elements = 0;
    std::vector<std::string> examples{};     // with their places
    std::map<std::string, int64_t> names{};  // of kMissingField: what may be meant
    std::set<CameraId> cameras{};
  };
  using MalformedKey = std::pair<MalformedReason, std::string>;
  struct Totals {
    int64_t messages = 0, bytes = 0, detections = 0, heartbeats = 0, malformed = 0;
    int64_t elements() const { return detections + heartbeats + malformed; }
    // How messages are laid out: how many have each.
    int64_t arrays = 0, indented = 0, concatenated = 0;
    // Of the elements that were looked at more closely.
    int64_t looked_at = 0, text_ids = 0, fractions = 0, zoneless = 0;
    // Of the records with a key: those whose key is the camera, the id, and that are in the
    // partition that Kafka's murmur2 partitioner gives their key.
    int64_t records = 0, keyed = 0, keyed_by_camera = 0, keyed_by_id = 0, murmur2 = 0;
  };

  struct Options {
    int64_t elements_max = 2'000'000;
    int32_t partitions = 0;  // of the topic; 0: no topic
  };
  explicit Sample(const Options& options);

  void Add(const SampleMessage& message);
  // Decodes what waits until enough was seen. Call it behind the last message.
  void Finish();
  bool Full() const { return totals_.elements() >= options_.elements_max; }

  const Totals& totals() const { return totals_; }
  const DecodeRules& rules() const { return rules_; }  // by which it decoded
  const std::vector<Row>& rows() const { return rows_; }
  const std::vector<Camera>& cameras() const { return cameras_; }
  const std::vector<Item>& items() const { return items_; }
  const std::map<MalformedKey, Malformed>& malformed() const { return malformed_; }
  const std::string& text_id_example() const { return text_id_; }
  int32_t partitions() const { return options_.partitions; }

 private:
  struct Waiting {
    std::string bytes;
    std::optional<std::string> key;
    SampleMessage message;
  };
  void Choose();
  void Take(const SampleMessage& message);
  void TakeElement(const SampleMessage& message, const Event& event);
  void TakeMalformed(const SampleMessage& message, const Event& event);
  void TakeKey(const SampleMessage& message, const Event& first);
  void TakeLayout(std::string_view message, const std::vector<Event>& events);
  uint32_t CameraOf(CameraId id);
  uint32_t ItemOf(const Event& event);

  const Options options_;
  DecodeRules rules_;
  std::vector<Waiting> waiting_;
  std::map<TimeUnit, int64_t> probed_units_;
  int64_t waiting_elements_ = 0;
  size_t waiting_bytes_ = 0;
  Decoder probe_;
  std::optional<Decoder> decoder_, normalizer_;  // by rules_
  std::vector<Event> events_;
  Totals totals_;
  std::vector<Row> rows_;
  std::vector<Camera> cameras_;
  std::vector<Item> items_;
  boost::unordered_flat_map<int64_t, uint32_t> camera_index_;
  std::map<std::string, uint32_t, std::less<>> item_index_;
  std::map<MalformedKey, Malformed> malformed_;
  std::string text_id_;
};

// Where an element was found, for people: "line 17" or "partition 2, offset 5".
std::string PlaceText(int32_t partition, int64_t place);

}  // namespace sightline
