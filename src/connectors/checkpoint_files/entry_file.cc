// Layout of an entry, and of a run:
//
//   "SLCP" | format version u32 | header size u32 |
//   header (base/bytes.h): kind, epoch, source (string), partition, number (of a run only) |
//   the checkpoint's bytes (none in a claim) |
//   their number u64 | CRC-32 (zlib) of everything before it u32 | "PCLS"
//
// Fixed numbers are little-endian. The length stands behind the bytes, because they are streamed.
#include "connectors/checkpoint_files/entry_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <system_error>

#include "base/bytes.h"
#include "base/files.h"

namespace sightline {
namespace {

constexpr std::string_view kMagic = "SLCP";
constexpr std::string_view kEndMagic = "PCLS";
constexpr uint32_t kVersion = 1;
constexpr size_t kFixedHeader = 12;
constexpr size_t kHeaderSizeMax = 64 * 1024;
constexpr size_t kFooter = 16;
constexpr size_t kBufferSize = 256 * 1024;

// Buffers the output, adds it to the checksum, and remembers the first error, because a ByteSink
// cannot return one.
class Output {
 public:
  explicit Output(int fd) : fd_(fd), crc_(crc32_z(0, nullptr, 0)) { buffer_.reserve(kBufferSize); }

  void Write(std::string_view bytes) {
    crc_ = crc32_z(crc_, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
    if (buffer_.size() + bytes.size() > kBufferSize) Flush();
    if (bytes.size() >= kBufferSize) {
      WriteOut(bytes);
    } else {
      buffer_.append(bytes);
    }
  }
  void Flush() {
    WriteOut(buffer_);
    buffer_.clear();
  }
  uint32_t crc() const { return static_cast<uint32_t>(crc_); }
  int error() const { return error_; }

 private:
  void WriteOut(std::string_view bytes) {
    while (!bytes.empty() && error_ == 0) {
      const ssize_t n = write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno != EINTR) error_ = errno;
      if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  const int fd_;
  uLong crc_;
  std::string buffer_;
  int error_ = 0;
};

std::string EncodeHeader(const EntryHeader& header) {
  ByteWriter fields;
  fields.Varint(static_cast<uint64_t>(header.kind));
  fields.Signed(header.epoch.v);
  fields.String(header.partition.source);
  fields.Signed(header.partition.partition);
  if (header.kind == EntryKind::kRun) fields.Signed(header.number);
  ByteWriter out;
  out.Raw(kMagic.data(), kMagic.size());
  out.Fixed32(kVersion);
  out.Fixed32(static_cast<uint32_t>(fields.size()));
  out.Raw(fields.bytes().data(), fields.size());
  return out.Take();
}

Status Damaged(const std::filesystem::path& path, std::string_view what) {
  return Status::Stop(fmt::format(
      "checkpoint file '{}' is damaged: {}; restore it from a copy; or, with every task stopped, "
      "remove the directory it is in, and its partition is read again from the start of the log",
      path.native(), what));
}

// A checked header, and the size of everything before the checkpoint's bytes.
struct ReadHeader {
  EntryKind kind = EntryKind::kClaim;
  size_t size = 0;
};
Result<ReadHeader> CheckHeader(std::string_view bytes, const std::filesystem::path& path,
                               const EntryHeader& expected) {
  ByteReader in(bytes);
  if (in.Raw(kMagic.size()) != kMagic)
    return Damaged(path, "it does not begin like a checkpoint file");
  const uint32_t version = in.Fixed32();
  if (in.ok() && version != kVersion)
    return Status::Stop(fmt::format(
        "checkpoint file '{}' has format {}, and this program reads format {}; use the program "
        "that wrote it",
        path.native(), version, kVersion));
  const uint32_t size = in.Fixed32();
  ByteReader fields(in.Raw(size));
  const uint64_t kind = fields.Varint();
  const Epoch epoch{fields.Signed()};
  const std::string_view source = fields.String();
  const int64_t partition = fields.Signed();
  const bool is_run = kind == static_cast<uint64_t>(EntryKind::kRun);
  const int64_t number = is_run ? fields.Signed() : 0;
  if (!in.ok() || !fields.done() || kind > static_cast<uint64_t>(EntryKind::kRun))
    return Damaged(path, "its header cannot be read");
  if (epoch != expected.epoch || source != expected.partition.source ||
      partition != expected.partition.partition || number != expected.number ||
      is_run != (expected.kind == EntryKind::kRun))
    return Damaged(path, fmt::format("it is {} {} of '{}' partition {}", is_run ? "run" : "entry",
                                     is_run ? fmt::format("{}-{}", epoch.v, number)
                                            : fmt::format("{}", epoch.v),
                                     source, partition));
  return ReadHeader{static_cast<EntryKind>(kind), kFixedHeader + size};
}

Result<std::string> ReadUpTo(const std::filesystem::path& path, size_t size_max) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd() < 0) return SystemError(errno, "open", path);
  struct stat status {};
  if (fstat(file.fd(), &status) != 0) return SystemError(errno, "look at", path);
  std::string bytes(std::min(size_max, static_cast<size_t>(status.st_size)), '\0');
  size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t n = read(file.fd(), bytes.data() + have, bytes.size() - have);
    if (n < 0 && errno != EINTR) return SystemError(errno, "read", path);
    if (n == 0) break;
    if (n > 0) have += static_cast<size_t>(n);
  }
  bytes.resize(have);
  return bytes;
}

}  // namespace

Status WriteEntry(const std::filesystem::path& path, const EntryHeader& header,
                  const CheckpointWriter* writer) {
  const File file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (file.fd() < 0) return SystemError(errno, "make", path);
  Output out(file.fd());
  out.Write(EncodeHeader(header));
  uint64_t size = 0;
  if (writer != nullptr)
    (*writer)([&](std::string_view bytes) {
      size += bytes.size();
      out.Write(bytes);
    });
  ByteWriter length;
  length.Fixed64(size);
  out.Write(length.bytes());
  ByteWriter end;
  end.Fixed32(out.crc());
  end.Raw(kEndMagic.data(), kEndMagic.size());
  out.Write(end.bytes());
  out.Flush();
  int error = out.error();
  if (error == 0 && fsync(file.fd()) != 0) error = errno;
  if (error == 0) return Status::Ok();
  unlink(path.c_str());
  return SystemError(error, "write", path);
}

Result<EntryKind> ReadEntryKind(const std::filesystem::path& path, const EntryHeader& expected) {
  Result<std::string> bytes = ReadUpTo(path, kFixedHeader + kHeaderSizeMax);
  if (!bytes.ok()) return bytes.status();
  Result<ReadHeader> header = CheckHeader(bytes.value(), path, expected);
  if (!header.ok()) return header.status();
  return header.value().kind;
}

Result<std::string> ReadCheckpoint(const std::filesystem::path& path, const EntryHeader& expected) {
  Result<std::string> read = ReadUpTo(path, SIZE_MAX);
  if (!read.ok()) return read.status();
  std::string bytes = std::move(read).value();
  Result<ReadHeader> header = CheckHeader(bytes, path, expected);
  if (!header.ok()) return header.status();
  if (bytes.size() < header.value().size + kFooter) return Damaged(path, "its end is missing");
  const size_t end = bytes.size() - kFooter;
  ByteReader footer(std::string_view(bytes).substr(end));
  const uint64_t size = footer.Fixed64();
  const uint32_t crc = footer.Fixed32();
  if (footer.Raw(kEndMagic.size()) != kEndMagic || size != end - header.value().size)
    return Damaged(path, "its end is missing");
  const uLong actual = crc32_z(crc32_z(0, nullptr, 0), reinterpret_cast<const Bytef*>(bytes.data()),
                               end + sizeof size);
  if (actual != crc) return Damaged(path, "it does not match its checksum");
  bytes.resize(end);
  bytes.erase(0, header.value().size);
  return bytes;
}

Result<std::string> ReadRunFile(const std::filesystem::path& path, const SourcePartition& partition,
                                RunId id) {
  std::error_code error;
  if (!std::filesystem::exists(path, error) && !error)
    return Damaged(path, "it is missing, and a checkpoint names it");
  return ReadCheckpoint(
      path,
      {.kind = EntryKind::kRun, .epoch = id.owner, .partition = partition, .number = id.number});
}

}  // namespace sightline
