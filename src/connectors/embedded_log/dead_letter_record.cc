// Layout (base/bytes.h): version 1 | source (string) | partition | offset | index | outcome |
// reason | append time | bytes (string). Outcome and reason are the numbers of their enums.
#include "connectors/embedded_log/dead_letter_record.h"

#include "base/bytes.h"

namespace sightline {
namespace {

constexpr uint64_t kVersion = 1;

}  // namespace

std::string EncodeDeadLetter(const SourcePartition& from, const DeadLetter& event) {
  ByteWriter out;
  out.Varint(kVersion);
  out.String(from.source);
  out.Signed(from.partition);
  out.Signed(event.offset.v);
  out.Signed(event.index);
  out.Varint(static_cast<uint64_t>(event.outcome));
  out.Varint(static_cast<uint64_t>(event.reason));
  out.Signed(event.append_time.v);
  out.String(event.bytes);
  return out.Take();
}

Result<DeadLetterRecord> DecodeDeadLetter(std::string_view bytes) {
  ByteReader in(bytes);
  if (in.Varint() != kVersion) return Status::Stop("the dead letter record has an unknown version");
  DeadLetterRecord record;
  record.from.source = std::string(in.String());
  record.from.partition = static_cast<int32_t>(in.Signed());
  record.event.offset = {in.Signed()};
  record.event.index = static_cast<int32_t>(in.Signed());
  const uint64_t outcome = in.Varint();
  const uint64_t reason = in.Varint();
  record.event.append_time = {in.Signed()};
  record.event.bytes = std::string(in.String());
  if (!in.done())
    return Status::Stop("the dead letter record is truncated, or has bytes behind its end");
  if (outcome >= kOutcomes || reason >= kMalformedReasons)
    return Status::Stop("the dead letter record has an unknown outcome or reason");
  record.event.outcome = static_cast<Outcome>(outcome);
  record.event.reason = static_cast<MalformedReason>(reason);
  return record;
}

}  // namespace sightline
