#include "ingest/frames.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"

namespace sightline {
namespace {

// Far below what a topic takes, and more than any frame has.
constexpr size_t kFrameBytesMax = 256 * 1024;

struct Frame {
  std::optional<DetectionOrigin> origin;
  std::optional<EventTime> time;
  std::string bytes;
};

bool IsSame(const std::optional<DetectionOrigin>& a, const DetectionOrigin& b) {
  return a && a->camera == b.camera && a->location == b.location;
}

}  // namespace

std::optional<EventTime> JoinFrames::TimeOf(std::string_view record) {
  padded_.assign(record).append(kDecodePadding, ' ');
  events_.clear();
  decoder_.Clear();
  decoder_.Decode(std::string_view(padded_).substr(0, record.size()), events_);
  if (events_.size() != 1 || events_.front().kind != Event::Kind::kDetection) return std::nullopt;
  return events_.front().time;
}

PackedRecords JoinFrames::Join(const PackedRecords& records) {
  PackedRecords joined{.partition = records.partition};
  ByteWriter out;
  std::optional<Frame> open;
  const auto end_frame = [&] {
    if (!open) return;
    out.String(open->bytes);
    joined.origins.push_back(open->origin);
    ++joined.count;
    open.reset();
  };
  ByteReader in(records.bytes);
  for (const std::optional<DetectionOrigin>& origin : records.origins) {
    const std::string_view record = in.String();
    const std::optional<EventTime> time = TimeOf(record);
    const bool same = open && time && origin && IsSame(open->origin, *origin) &&
                      open->time == time && open->bytes.size() + record.size() < kFrameBytesMax;
    if (same) {
      open->bytes.append("\n").append(record);
      continue;
    }
    end_frame();
    open = Frame{origin, time, std::string(record)};
  }
  end_frame();
  joined.bytes = out.Take();
  return joined;
}

}  // namespace sightline
