#include "engine/spilled_run.h"

#include <fmt/format.h>

#include <utility>

#include "base/bytes.h"
#include "base/check.h"

// Layout, integers as in base/bytes.h:
//
//   "SLSR"       4 bytes
//   version      varint, 1
//   Segment *    Segment::Encode, to the end
namespace sightline {
namespace {

constexpr std::string_view kRunMagic = "SLSR";
constexpr uint64_t kRunVersion = 1;

Status Damaged(const SpilledRun& run, const std::string& what) {
  return Status::Stop(fmt::format("the spilled run {}-{} of the offsets [{}, {}) is damaged: {}",
                                  run.id.owner.v, run.id.number, run.first.v, run.next().v, what));
}

}  // namespace

std::string EncodeRun(std::span<const Segment> segments) {
  ByteWriter out;
  out.Raw(kRunMagic.data(), kRunMagic.size());
  out.Varint(kRunVersion);
  for (const Segment& segment : segments) segment.Encode(out);
  return out.Take();
}

SpilledRun DescribeRun(RunId id, std::span<const Segment> segments, int64_t bytes) {
  CHECK(!segments.empty());
  SpilledRun run{.id = id, .first = segments.front().first, .bytes = bytes};
  for (const Segment& segment : segments) {
    CHECK(run.boundaries.empty() || run.next() == segment.first);
    run.boundaries.push_back(segment.next);
    run.rows += static_cast<int64_t>(segment.rows());
  }
  return run;
}

Result<std::vector<Segment>> DecodeRun(const SpilledRun& run, std::string_view bytes) {
  ByteReader in(bytes);
  if (in.Raw(kRunMagic.size()) != kRunMagic)
    return Damaged(run, "it does not begin like a spilled run");
  if (const uint64_t version = in.Varint(); version != kRunVersion)
    return Status::Stop(
        fmt::format("the spilled run {}-{} has version {}, and this program reads version {}: run "
                    "the program that wrote it, and drain it",
                    run.id.owner.v, run.id.number, version, kRunVersion));
  std::vector<Segment> segments;
  segments.reserve(run.boundaries.size());
  for (const Offset boundary : run.boundaries) {
    const Offset due = segments.empty() ? run.first : segments.back().next;
    Result<Segment> segment = Segment::Decode(in);
    if (!segment.ok()) return Damaged(run, segment.status().message());
    if (segment.value().first != due || segment.value().next != boundary)
      return Damaged(run, "its segments are of other offsets than the checkpoint says");
    segments.push_back(std::move(segment).value());
  }
  if (!in.done()) return Damaged(run, "it is longer than it should be");
  return segments;
}

}  // namespace sightline
