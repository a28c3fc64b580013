// Layout of an entry, and of a run:
//
//   "SLCP" | format u32 | header size u32 |
//   header (base/bytes.h): kind, epoch, source (string), partition, then
//     of a run: number; of an entry of format 2: owner (string)
//   the payload |
//   its size u64 | CRC-32 (zlib) of everything before it u32 | "PCLS"
//
// Fixed numbers are little-endian. The payload of a claim is empty. That of a run is its bytes.
// That of a checkpoint is, in format 2, what its body is: name (string), size, CRC-32 (zlib) u32;
// in format 1, which only earlier programs wrote, its bytes. A run has format 1.
#include "connectors/checkpoint_files/entry_file.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/bytes.h"
#include "base/files.h"

namespace sightline {
namespace {

constexpr std::string_view kMagic = "SLCP";
constexpr std::string_view kEndMagic = "PCLS";
constexpr uint32_t kBodyInside = 1;
constexpr uint32_t kBodyBeside = 2;
constexpr size_t kFooter = 16;

// What a header says of its file.
struct Header {
  uint32_t format = 0;
  EntryKind kind = EntryKind::kClaim;
  Epoch epoch;  // of a run: its owner
  SourcePartition partition;
  int64_t number = 0;  // of a run
  std::string owner;   // of an entry of format 2
  size_t size = 0;     // of everything before the payload
};

std::string Encode(const Header& header, std::string_view payload) {
  ByteWriter fields;
  fields.Varint(static_cast<uint64_t>(header.kind));
  fields.Signed(header.epoch.v);
  fields.String(header.partition.source);
  fields.Signed(header.partition.partition);
  if (header.kind == EntryKind::kRun) fields.Signed(header.number);
  if (header.format == kBodyBeside) fields.String(header.owner);
  ByteWriter out;
  out.Raw(kMagic.data(), kMagic.size());
  out.Fixed32(header.format);
  out.Fixed32(static_cast<uint32_t>(fields.size()));
  out.Raw(fields.bytes().data(), fields.size());
  out.Raw(payload.data(), payload.size());
  out.Fixed64(payload.size());
  Crc crc;
  crc.Add(out.bytes());
  out.Fixed32(crc.value());
  out.Raw(kEndMagic.data(), kEndMagic.size());
  return out.Take();
}

Result<Header> DecodeHeader(std::string_view bytes, const std::string& where) {
  ByteReader in(bytes);
  if (in.Raw(kMagic.size()) != kMagic)
    return DamagedFile(where, "it does not begin like a checkpoint file");
  Header header;
  header.format = in.Fixed32();
  if (in.ok() && header.format != kBodyInside && header.format != kBodyBeside)
    return Status::Stop(fmt::format(
        "checkpoint file '{}' has format {}, and this program reads formats {} and {}; use the "
        "program that wrote it",
        where, header.format, kBodyInside, kBodyBeside));
  const uint32_t size = in.Fixed32();
  ByteReader fields(in.Raw(size));
  const uint64_t kind = fields.Varint();
  header.kind = static_cast<EntryKind>(kind);
  header.epoch = {fields.Signed()};
  header.partition.source = fields.String();
  const int64_t partition = fields.Signed();
  header.partition.partition = static_cast<int32_t>(partition);
  if (header.kind == EntryKind::kRun) header.number = fields.Signed();
  if (header.format == kBodyBeside) header.owner = fields.String();
  if (!in.ok() || !fields.done() || kind > static_cast<uint64_t>(EntryKind::kRun) ||
      header.partition.partition != partition)
    return DamagedFile(where, "its header cannot be read");
  header.size = bytes.size() - in.remaining();
  return header;
}

// kStop unless the file is what must lie there.
Status CheckPlace(const Header& found, const std::string& where, const SourcePartition& partition,
                  Epoch epoch, int64_t run_number) {
  const bool is_run = found.kind == EntryKind::kRun;
  if (found.epoch == epoch && found.partition == partition && is_run == (run_number > 0) &&
      found.number == run_number)
    return Status::Ok();
  return DamagedFile(where,
                     fmt::format("it is {} {} of '{}' partition {}", is_run ? "run" : "entry",
                                 is_run ? fmt::format("{}-{}", found.epoch.v, found.number)
                                        : fmt::format("{}", found.epoch.v),
                                 found.partition.source, found.partition.partition));
}

// Where the payload of a complete file ends.
Result<size_t> PayloadEnd(std::string_view bytes, const Header& header, const std::string& where) {
  if (bytes.size() < header.size + kFooter) return DamagedFile(where, "its end is missing");
  const size_t end = bytes.size() - kFooter;
  ByteReader footer(bytes.substr(end));
  const uint64_t size = footer.Fixed64();
  const uint32_t expected = footer.Fixed32();
  if (footer.Raw(kEndMagic.size()) != kEndMagic || size != end - header.size)
    return DamagedFile(where, "its end is missing");
  Crc crc;
  crc.Add(bytes.substr(0, end + sizeof size));
  if (crc.value() != expected) return DamagedFile(where, "it does not match its checksum");
  return end;
}

// The payload of a whole file, which is used up.
Result<std::string> TakePayload(std::string bytes, const Header& header, const std::string& where) {
  const Result<size_t> end = PayloadEnd(bytes, header, where);
  if (!end.ok()) return end.status();
  bytes.resize(end.value());
  bytes.erase(0, header.size);
  return bytes;
}

}  // namespace

void Crc::Add(std::string_view bytes) {
  value_ = static_cast<uint32_t>(
      crc32_z(value_, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

Status DamagedFile(const std::string& where, std::string_view what) {
  return Status::Stop(fmt::format(
      "checkpoint file '{}' is damaged: {}; restore it from a copy; or, with every task stopped, "
      "remove the directory it is in, and its partition is read again from the start of the log",
      where, what));
}

std::string EncodeEntry(const SourcePartition& partition, Epoch epoch, const StoredEntry& entry) {
  ByteWriter payload;
  if (entry.body) {
    payload.String(entry.body->name);
    payload.Signed(entry.body->size);
    payload.Fixed32(entry.body->crc);
  }
  return Encode({.format = kBodyBeside,
                 .kind = entry.kind,
                 .epoch = epoch,
                 .partition = partition,
                 .owner = entry.owner},
                payload.bytes());
}

std::string EncodeRunFile(const SourcePartition& partition, RunId id, std::string_view bytes) {
  return Encode({.format = kBodyInside,
                 .kind = EntryKind::kRun,
                 .epoch = id.owner,
                 .partition = partition,
                 .number = id.number},
                bytes);
}

Result<StoredEntry> DecodeEntry(std::string_view head, const std::string& where,
                                const SourcePartition& partition, Epoch epoch) {
  const Result<Header> header = DecodeHeader(head, where);
  if (!header.ok()) return header.status();
  RETURN_IF_ERROR(CheckPlace(header.value(), where, partition, epoch, 0));
  StoredEntry entry{.kind = header.value().kind, .owner = header.value().owner};
  if (header.value().format == kBodyInside && entry.kind == EntryKind::kCheckpoint) return entry;
  const Result<size_t> end = PayloadEnd(head, header.value(), where);
  if (!end.ok()) return end.status();
  if (entry.kind == EntryKind::kClaim) return entry;
  ByteReader payload(head.substr(header.value().size, end.value() - header.value().size));
  entry.body = {
      .name = std::string(payload.String()), .size = payload.Signed(), .crc = payload.Fixed32()};
  if (!payload.done()) return DamagedFile(where, "what it says of its body cannot be read");
  return entry;
}

Result<std::string> DecodeCheckpointInside(std::string bytes, const std::string& where,
                                           const SourcePartition& partition, Epoch epoch) {
  const Result<Header> header = DecodeHeader(bytes, where);
  if (!header.ok()) return header.status();
  RETURN_IF_ERROR(CheckPlace(header.value(), where, partition, epoch, 0));
  return TakePayload(std::move(bytes), header.value(), where);
}

Status CheckBody(std::string_view bytes, const BodyName& body, const std::string& where) {
  if (std::ssize(bytes) != body.size)
    return DamagedFile(
        where, fmt::format("it has {} bytes, and its entry says {}", bytes.size(), body.size));
  Crc crc;
  crc.Add(bytes);
  if (crc.value() != body.crc) return DamagedFile(where, "it does not match its entry's checksum");
  return Status::Ok();
}

Result<std::string> DecodeRunFile(std::string bytes, const std::string& where,
                                  const SourcePartition& partition, RunId id) {
  const Result<Header> header = DecodeHeader(bytes, where);
  if (!header.ok()) return header.status();
  RETURN_IF_ERROR(CheckPlace(header.value(), where, partition, id.owner, id.number));
  return TakePayload(std::move(bytes), header.value(), where);
}

Result<std::string> ReadRunFile(const std::filesystem::path& path, const SourcePartition& partition,
                                RunId id) {
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open() && errno == ENOENT) return DamagedFile(path, "it is missing");
  std::ostringstream bytes;
  bytes << file.rdbuf();
  if (!file) return SystemError(errno, "read", path);
  return DecodeRunFile(std::move(bytes).str(), path, partition, id);
}

}  // namespace sightline
