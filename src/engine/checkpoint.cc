#include "engine/checkpoint.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "base/bytes.h"

// Layout, integers as in base/bytes.h:
//
//   "SLCP"            4 bytes
//   version           varint: 4; or 3 if no sink is absent, or 2 if there is no gap either, so that
//                     earlier programs can read it
//   next origin degraded_until
//   first next        of the newest gap; not in versions 1 and 2
//   n, name * n       of the absent sinks; only in version 4
//   n, run * n        not in version 1; a run is: owner number first rows bytes, m, boundary * m,
//                     each as the difference from the one before, the first one from `first`
//   n, Segment * n    the sealed list in memory (Segment::Encode)
//   state             CountOperator::Save, up to the checksum
//   checksum          8 bytes, over everything before it
namespace sightline {
namespace {

constexpr std::string_view kMagic = "SLCP";
constexpr uint64_t kVersion = 4;
constexpr uint64_t kVersionWithoutAbsent = 3;
constexpr uint64_t kVersionWithoutGap = 2;
constexpr uint64_t kVersionWithoutRuns = 1;

// FNV-1a (Fowler, Noll, Vo) over 64-bit words instead of bytes. Each step is a bijection, so damage
// within one word is always found. The last word is filled up with zeros, and the length is hashed,
// too.
class Checksum {
 public:
  void Add(std::string_view bytes) {
    size_ += bytes.size();
    while (!bytes.empty()) {
      if (filled_ == 0 && bytes.size() >= sizeof word_) {
        std::memcpy(&word_, bytes.data(), sizeof word_);
        bytes.remove_prefix(sizeof word_);
        Mix();
        continue;
      }
      const size_t piece = std::min(sizeof word_ - filled_, bytes.size());
      std::memcpy(reinterpret_cast<char*>(&word_) + filled_, bytes.data(), piece);
      bytes.remove_prefix(piece);
      filled_ += piece;
      if (filled_ == sizeof word_) Mix();
    }
  }
  uint64_t Take() {
    if (filled_ > 0) Mix();
    word_ = size_;
    Mix();
    return hash_;
  }

 private:
  void Mix() {
    hash_ = (hash_ ^ word_) * 0x100000001b3ull;
    word_ = 0;
    filled_ = 0;
  }
  uint64_t hash_ = 0xcbf29ce484222325ull;
  uint64_t word_ = 0;
  uint64_t size_ = 0;
  size_t filled_ = 0;
};

Status Damaged(const char* what) {
  return Status::Stop(fmt::format(
      "the checkpoint is damaged ({}): restore it; or stop every task and delete the checkpoints "
      "of this partition, and it is replayed from its earliest retained offset",
      what));
}

void WriteRun(const SpilledRun& run, ByteWriter& out) {
  out.Signed(run.id.owner.v);
  out.Signed(run.id.number);
  out.Signed(run.first.v);
  out.Signed(run.rows);
  out.Signed(run.bytes);
  out.Varint(run.boundaries.size());
  int64_t before = run.first.v;
  for (const Offset boundary : run.boundaries)
    out.Varint(static_cast<uint64_t>(boundary.v - std::exchange(before, boundary.v)));
}

uint64_t VersionFor(const CheckpointHead& head) {
  if (!head.absent.empty()) return kVersion;
  return head.gap.empty() ? kVersionWithoutGap : kVersionWithoutAbsent;
}

void WriteHead(const CheckpointHead& head, ByteWriter& out) {
  const uint64_t version = VersionFor(head);
  out.Varint(version);
  out.Signed(head.next.v);
  out.Signed(head.origin.v);
  out.Signed(head.degraded_until.v);
  if (version > kVersionWithoutGap) {
    out.Signed(head.gap.first.v);
    out.Signed(head.gap.next.v);
  }
  if (version <= kVersionWithoutAbsent) return;
  out.Varint(head.absent.size());
  for (const std::string& name : head.absent) out.String(name);
}

CheckpointHead ReadHead(uint64_t version, ByteReader& in) {
  CheckpointHead head;
  head.next = {in.Signed()};
  head.origin = {in.Signed()};
  head.degraded_until = {in.Signed()};
  if (version > kVersionWithoutGap) {
    head.gap.first = {in.Signed()};
    head.gap.next = {in.Signed()};
  }
  if (version > kVersionWithoutAbsent)
    for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) head.absent.emplace_back(in.String());
  return head;
}

// Decodes one run. Returns false unless its boundaries rise from `first`.
bool ReadRun(ByteReader& in, SpilledRun* run) {
  run->id.owner = {in.Signed()};
  run->id.number = in.Signed();
  run->first = {in.Signed()};
  run->rows = in.Signed();
  run->bytes = in.Signed();
  Offset next = run->first;
  for (uint64_t n = in.Varint(); n > 0 && in.ok(); --n) {
    const uint64_t length = in.Varint();
    if (length == 0 || length > INT64_MAX ||
        __builtin_add_overflow(next.v, static_cast<int64_t>(length), &next.v))
      return false;
    run->boundaries.push_back(next);
  }
  return in.ok() && !run->boundaries.empty() && run->rows >= 0 && run->bytes >= 0;
}

}  // namespace

void WriteCheckpoint(const CheckpointHead& head, std::span<const SpilledRun> runs,
                     std::span<const Segment> sealed, const CheckpointWriter& save_state,
                     const ByteSink& out) {
  Checksum checksum;
  const ByteSink piece = [&](std::string_view bytes) {
    checksum.Add(bytes);
    out(bytes);
  };
  ByteWriter first;
  first.Raw(kMagic.data(), kMagic.size());
  WriteHead(head, first);
  first.Varint(runs.size());
  for (const SpilledRun& run : runs) WriteRun(run, first);
  first.Varint(sealed.size());
  piece(first.bytes());
  for (const Segment& segment : sealed) {
    ByteWriter encoded;
    segment.Encode(encoded);
    piece(encoded.bytes());
  }
  save_state(piece);
  ByteWriter last;
  last.Fixed64(checksum.Take());
  out(last.bytes());
}

Result<Checkpoint> ReadCheckpoint(std::string_view bytes) {
  if (bytes.substr(0, kMagic.size()) != kMagic)
    return Damaged("it does not begin like a checkpoint");
  if (bytes.size() < kMagic.size() + 1 + sizeof(uint64_t)) return Damaged("it is too short");
  // The version is checked before the checksum: another version may use another checksum.
  ByteReader in(bytes.substr(kMagic.size(), bytes.size() - kMagic.size() - sizeof(uint64_t)));
  const uint64_t version = in.Varint();
  if (version < kVersionWithoutRuns || version > kVersion)
    return Status::Stop(
        fmt::format("the checkpoint has version {}, and this program reads versions {} to {}: run "
                    "the program that wrote it, drain it, and follow its upgrade notes",
                    version, kVersionWithoutRuns, kVersion));
  Checksum checksum;
  checksum.Add(bytes.substr(0, bytes.size() - sizeof(uint64_t)));
  if (ByteReader(bytes.substr(bytes.size() - sizeof(uint64_t))).Fixed64() != checksum.Take())
    return Damaged("its checksum is wrong");
  Checkpoint checkpoint;
  checkpoint.head = ReadHead(version, in);
  std::optional<Offset> end;  // where the runs and segments decoded so far end
  for (uint64_t n = version > kVersionWithoutRuns ? in.Varint() : 0; n > 0; --n) {
    SpilledRun run;
    if (!ReadRun(in, &run)) return Damaged("the description of a spilled run cannot be decoded");
    if (end && *end != run.first) return Damaged("its runs are not contiguous");
    end = run.next();
    checkpoint.runs.push_back(std::move(run));
  }
  for (uint64_t n = in.Varint(); n > 0; --n) {
    Result<Segment> segment = Segment::Decode(in);
    if (!segment.ok()) return Damaged(segment.status().message().c_str());
    if (end && *end != segment.value().first) return Damaged("its segments are not contiguous");
    end = segment.value().next;
    checkpoint.sealed.push_back(std::move(segment).value());
  }
  if (!in.ok()) return Damaged("it is truncated");
  if (end && *end != checkpoint.head.next) return Damaged("its segments do not end at its offset");
  checkpoint.state = in.Raw(in.remaining());
  return checkpoint;
}

}  // namespace sightline
