#include "camera/spool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kHeaderBytes = 12;
constexpr int64_t kBodyBytesMax = 256LL << 20;  // a header with a longer length is damaged
constexpr std::string_view kPositionMagic = "SLPOS1";

uint32_t Crc32(std::string_view bytes, uint32_t before = 0) {
  return static_cast<uint32_t>(
      crc32_z(before, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

std::string Reason() { return std::strerror(errno); }

bool WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// False on an error, or when the file ends before `size` bytes; then errno is 0.
bool ReadAll(int fd, int64_t offset, char* out, int64_t size) {
  errno = 0;
  while (size > 0) {
    const ssize_t got = ::pread(fd, out, static_cast<size_t>(size), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got;
    offset += got;
    size -= got;
  }
  return true;
}

struct Header {
  uint32_t crc = 0;
  int64_t body_bytes = 0;
  int64_t events = 0;
};

std::string EncodeHeader(std::string_view body, int64_t events) {
  ByteWriter checked;
  checked.Fixed32(static_cast<uint32_t>(body.size()));
  checked.Fixed32(static_cast<uint32_t>(events));
  ByteWriter header;
  header.Fixed32(Crc32(body, Crc32(checked.bytes())));
  header.Raw(checked.bytes().data(), checked.size());
  return header.Take();
}

enum class RecordState { kGood, kDamaged, kUnreadable };

// Appends the body of the record at `offset` to `body` if the record is good. kDamaged: the bytes
// are wrong and will stay so. kUnreadable: the disk failed, and a later read may succeed.
RecordState ReadRecord(int fd, int64_t offset, int64_t file_bytes, Header* header,
                       std::string* body) {
  char raw[kHeaderBytes];
  if (offset + kHeaderBytes > file_bytes) return RecordState::kDamaged;
  if (!ReadAll(fd, offset, raw, kHeaderBytes))
    return errno == 0 ? RecordState::kDamaged : RecordState::kUnreadable;
  ByteReader reader({raw, kHeaderBytes});
  header->crc = reader.Fixed32();
  header->body_bytes = reader.Fixed32();
  header->events = reader.Fixed32();
  const int64_t end = offset + kHeaderBytes + header->body_bytes;
  if (header->body_bytes > kBodyBytesMax || header->events == 0 || end > file_bytes)
    return RecordState::kDamaged;
  const size_t before = body->size();
  body->resize(before + static_cast<size_t>(header->body_bytes));
  auto outcome = RecordState::kGood;
  if (!ReadAll(fd, offset + kHeaderBytes, body->data() + before, header->body_bytes)) {
    outcome = errno == 0 ? RecordState::kDamaged : RecordState::kUnreadable;
  } else {
    const uint32_t crc = Crc32(std::string_view(*body).substr(before), Crc32({raw + 4, 8}));
    if (crc != header->crc) outcome = RecordState::kDamaged;
  }
  if (outcome != RecordState::kGood) body->resize(before);
  return outcome;
}

// The names and sizes of the regular files in a directory.
Result<std::vector<std::pair<std::string, int64_t>>> ListFiles(const std::string& directory) {
  std::vector<std::pair<std::string, int64_t>> files;
  std::error_code error;
  fs::directory_iterator entry(directory, error);
  while (!error && entry != fs::directory_iterator()) {
    if (entry->is_regular_file(error)) {
      const auto size = static_cast<int64_t>(entry->file_size(error));
      if (!error) files.emplace_back(entry->path().filename(), size);
    }
    if (!error) entry.increment(error);
  }
  if (error)
    return Status::Stop(
        fmt::format("the spool's folder '{}' cannot be listed: {}", directory, error.message()));
  return files;
}

}  // namespace

std::string Spool::SegmentPath(int64_t number) const {
  return fmt::format("{}/{:020}.seg", options_.directory, number);
}

Result<std::unique_ptr<Spool>> Spool::Open(const SpoolOptions& options) {
  if (options.bytes_max < 1 || options.segment_bytes < 1)
    return Status::Stop("the spool's bytes_max and segment_bytes must be positive");
  std::unique_ptr<Spool> spool(new Spool(options));
  RETURN_IF_ERROR(spool->LockDirectory());
  RETURN_IF_ERROR(spool->Recover());
  return spool;
}

Spool::~Spool() {
  if (segment_fd_ >= 0) {
    if (const Status status = SyncLocked(); !status.ok()) LogError(status.message());
    CloseSegment();
  }
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

Status Spool::LockDirectory() {
  std::error_code error;
  fs::create_directories(options_.directory + "/refused", error);
  if (error)
    return Status::Stop(
        fmt::format("the spool '{}' cannot be created: {}", options_.directory, error.message()));
  lock_fd_ = ::open((options_.directory + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_fd_ < 0)
    return Status::Stop(
        fmt::format("the spool '{}' cannot be locked: {}", options_.directory, Reason()));
  // The kernel releases the lock when the process ends, however it ends.
  if (::flock(lock_fd_, LOCK_EX | LOCK_NB) != 0)
    return Status::Stop(
        fmt::format("the spool '{}' is in use: give each camera process a spool of its own",
                    options_.directory));
  return Status::Ok();
}

Status Spool::Recover() {
  LoadPosition();
  const auto files = ListFiles(options_.directory);
  if (!files.ok()) return files.status();
  // The folder has other files, too: only "<number>.seg" is a segment.
  std::map<int64_t, int64_t> found;
  for (const auto& [name, size] : files.value()) {
    int64_t number = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
    if (parsed.ec == std::errc() && std::string_view(parsed.ptr) == ".seg") found[number] = size;
  }
  // A number that the position names must not be used again, even if its segment is deleted.
  next_number_ = std::max(acknowledged_.segment, found.empty() ? 0 : found.rbegin()->first) + 1;
  for (const auto& [number, size] : found) RETURN_IF_ERROR(RecoverSegment(number, size));
  RETURN_IF_ERROR(CountRefused());
  if (!empty())
    LogInfo(fmt::format("the spool '{}' holds {} unsent events", options_.directory, events()));
  return Status::Ok();
}

Status Spool::CountRefused() {
  const auto files = ListFiles(options_.directory + "/refused");
  if (!files.ok()) return files.status();
  refused_bytes_ = 0;
  for (const auto& [name, size] : files.value()) refused_bytes_ += size;
  return Status::Ok();
}

// Counts the events of a segment after the acknowledged position, cuts off a torn record, and
// deletes the segment when it has nothing to send.
Status Spool::RecoverSegment(int64_t number, int64_t size) {
  const std::string path = SegmentPath(number);
  int64_t valid = 0, counted = 0;
  if (number >= acknowledged_.segment) {
    const File file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!file.ok())
      return Status::Stop(
          fmt::format("the spool's segment '{}' cannot be opened: {}", path, Reason()));
    const int64_t from = number == acknowledged_.segment ? acknowledged_.offset : 0;
    Header header;
    std::string body;
    auto state = RecordState::kGood;
    // From the start of the file, because only the records before it show where a record begins.
    while (valid < size) {
      body.clear();
      state = ReadRecord(file.fd(), valid, size, &header, &body);
      if (state != RecordState::kGood) break;
      if (valid >= from) counted += header.events;
      valid += kHeaderBytes + header.body_bytes;
    }
    if (state == RecordState::kUnreadable)
      return Status::Stop(
          fmt::format("the spool's segment '{}' cannot be read: {}", path, Reason()));
    if (valid < size) {
      LogWarning(
          fmt::format("the spool's segment '{}' ends with an incomplete record, as after a kill: "
                      "its {} bytes are cut off",
                      path, size - valid));
      if (::ftruncate(file.fd(), valid) != 0)
        return Status::Stop(
            fmt::format("the spool's segment '{}' cannot be cut: {}", path, Reason()));
    }
  }
  if (counted == 0) {
    std::error_code error;
    fs::remove(path, error);
    return Status::Ok();
  }
  appended_events_ += counted;
  bytes_ += valid;
  segments_[number] = {valid, appended_events_.load()};
  return Status::Ok();
}

// Without a valid position everything is sent again: that makes copies, but loses nothing.
void Spool::LoadPosition() {
  const File file(::open((options_.directory + "/position").c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.ok()) return;
  // One read is enough: the file is shorter than this, and rename() only ever replaces it as a
  // whole.
  char raw[128] = {};
  const ssize_t got = ::read(file.fd(), raw, sizeof raw - 1);
  const std::string_view text(raw, got > 0 ? static_cast<size_t>(got) : 0);
  const size_t last = text.rfind(' ');
  SpoolPosition position;
  uint32_t crc = 0;
  auto number = [](std::string_view digits, auto* value) {
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), *value);
    return parsed.ec == std::errc() ? parsed.ptr : nullptr;
  };
  const char* next = nullptr;
  const bool good =
      last != std::string_view::npos && text.substr(0, kPositionMagic.size()) == kPositionMagic &&
      number(text.substr(last + 1), &crc) != nullptr && crc == Crc32(text.substr(0, last)) &&
      (next = number(text.substr(kPositionMagic.size() + 1), &position.segment)) != nullptr &&
      next + 1 < text.data() + last &&
      number({next + 1, static_cast<size_t>(text.data() + last - next - 1)}, &position.offset);
  if (good) {
    acknowledged_ = position;
  } else {
    LogWarning(
        fmt::format("the position of the spool '{}' is damaged: everything in it is sent again",
                    options_.directory));
  }
}

// Not synced: a power cut may bring an older position back, which only makes copies.
Status Spool::StorePosition() {
  std::string text =
      fmt::format("{} {} {}", kPositionMagic, acknowledged_.segment, acknowledged_.offset);
  text += fmt::format(" {}\n", Crc32(text));
  const std::string path = options_.directory + "/position", fresh = path + ".new";
  const File file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.ok() || !WriteAll(file.fd(), text) || ::rename(fresh.c_str(), path.c_str()) != 0)
    return Status::Retry(
        fmt::format("the spool's position '{}' cannot be written: {}", path, Reason()));
  return Status::Ok();
}

Status Spool::OpenSegment() {
  const int64_t number = next_number_++;  // used once, even if the creation fails
  const std::string path = SegmentPath(number);
  segment_fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (segment_fd_ < 0)
    return Status::Retry(
        fmt::format("the spool's segment '{}' cannot be created: {}", path, Reason()));
  directory_unsynced_ = true;
  segments_[number] = {0, appended_events_.load()};
  return Status::Ok();
}

void Spool::CloseSegment() {
  if (segment_fd_ < 0) return;
  ::close(segment_fd_);
  segment_fd_ = -1;
}

Result<SpoolPosition> Spool::Append(std::string_view body, int64_t events) {
  CHECK(events > 0 && events <= UINT32_MAX);
  if (options_.append_fault) RETURN_IF_ERROR(options_.append_fault());
  const std::lock_guard lock(mutex_);
  const int64_t size = kHeaderBytes + static_cast<int64_t>(body.size());
  if (size > kBodyBytesMax || bytes_ + size > options_.bytes_max)
    return Status::Retry(fmt::format("the spool '{}' is full: it holds {} of {} bytes",
                                     options_.directory, bytes_.load(), options_.bytes_max));
  // A full segment is synced before it is closed, because later syncs only reach the open one.
  if (segment_fd_ >= 0 && segments_.rbegin()->second.bytes >= options_.segment_bytes) {
    if (const Status status = SyncLocked(); !status.ok()) LogError(status.message());
    CloseSegment();
  }
  if (segment_fd_ < 0) RETURN_IF_ERROR(OpenSegment());

  auto& [number, segment] = *segments_.rbegin();
  const std::string header = EncodeHeader(body, events);
  // Usually one system call. If the kernel takes only a part, the rest follows, or the part is
  // removed again.
  iovec parts[2] = {{const_cast<char*>(header.data()), header.size()},
                    {const_cast<char*>(body.data()), body.size()}};
  const ssize_t written = ::writev(segment_fd_, parts, 2);
  bool whole = written == size;
  if (!whole && written >= 0) {
    const std::string record = header + std::string(body);
    whole = WriteAll(segment_fd_, std::string_view(record).substr(static_cast<size_t>(written)));
  }
  if (!whole) {
    const std::string reason = Reason();
    // If this fails, readers still stop at segment.bytes, and the next Open() cuts off the part.
    if (::ftruncate(segment_fd_, segment.bytes) != 0)
      LogError(
          fmt::format("the spool's segment '{}' cannot be cut: {}", SegmentPath(number), Reason()));
    if (const Status status = SyncLocked(); !status.ok()) LogError(status.message());
    CloseSegment();
    if (segment.bytes == 0) {
      ::unlink(SegmentPath(number).c_str());
      segments_.erase(number);
    }
    return Status::Retry(
        fmt::format("the spool '{}' cannot be written: {}", options_.directory, reason));
  }
  segment.bytes += size;
  bytes_ += size;
  segment.last_events = (appended_events_ += events);
  unsynced_ = true;
  return SpoolPosition{number, segment.bytes, appended_events_.load()};
}

Result<Spool::Chunk> Spool::Read(int64_t events_max, int64_t bytes_max) {
  const std::lock_guard lock(mutex_);
  Chunk chunk;
  while (chunk.events == 0) {
    chunk.next = acknowledged_;
    const auto segment = segments_.lower_bound(acknowledged_.segment);
    if (segment == segments_.end() || empty()) return chunk;
    // The position may name a segment that is deleted: then the next one starts at its beginning.
    if (segment->first > acknowledged_.segment) chunk.next.offset = 0;
    chunk.next.segment = segment->first;
    const File file(::open(SegmentPath(segment->first).c_str(), O_RDONLY | O_CLOEXEC));
    auto state = file.ok() ? RecordState::kGood : RecordState::kUnreadable;
    while (state == RecordState::kGood && chunk.next.offset < segment->second.bytes) {
      Header header;
      const size_t before = chunk.body.size();
      state = ReadRecord(file.fd(), chunk.next.offset, segment->second.bytes, &header, &chunk.body);
      if (state != RecordState::kGood) break;
      const bool too_much = chunk.events + header.events > events_max ||
                            static_cast<int64_t>(chunk.body.size()) > bytes_max;
      if (chunk.events > 0 && too_much) {
        chunk.body.resize(before);
        return chunk;
      }
      chunk.events += header.events;
      chunk.next.events += header.events;
      chunk.next.offset += kHeaderBytes + header.body_bytes;
    }
    // What was read before the damage goes out first; the next Read() meets the damage again.
    if (chunk.events > 0) return chunk;
    if (state == RecordState::kUnreadable)
      return Status::Retry(fmt::format("the spool's segment '{}' cannot be read: {}",
                                       SegmentPath(segment->first), Reason()));
    SkipDamage(segment->first);
  }
  return chunk;
}

// Gives up the rest of segment `number`. Its record bounds cannot be trusted any more, and waiting
// would stop the queue for ever.
void Spool::SkipDamage(int64_t number) {
  const Segment segment = segments_.at(number);
  const int64_t lost = segment.last_events - acknowledged_events_.load();
  if (lost > 0)
    LogError(fmt::format("the spool's segment '{}' is damaged: {} events are lost",
                         SegmentPath(number), lost));
  if (segments_.rbegin()->first == number) CloseSegment();
  acknowledged_events_ = segment.last_events;
  acknowledged_ = {number + 1, 0, segment.last_events};
  if (const Status status = StorePosition(); !status.ok()) LogWarning(status.message());
  next_number_ = std::max(next_number_, number + 1);
  DeleteBefore(number + 1);
}

void Spool::Acknowledge(SpoolPosition next) {
  const std::lock_guard lock(mutex_);
  // Positions only move forward, and never beyond what was appended.
  CHECK(next.events >= acknowledged_.events && next.events <= appended_events_.load());
  acknowledged_ = next;
  acknowledged_events_ = next.events;
  if (const Status status = StorePosition(); !status.ok()) LogWarning(status.message());
  // When nothing is left, the segment that is being written is deleted, too, to free its space.
  if (empty()) CloseSegment();
  DeleteBefore(empty() ? next.segment + 1 : next.segment);
}

// Deletes the segments before `number`, and the one at the position if it is closed and
// acknowledged to its end.
void Spool::DeleteBefore(int64_t number) {
  while (!segments_.empty()) {
    const auto& [first, segment] = *segments_.begin();
    const bool is_open = segment_fd_ >= 0 && segments_.size() == 1;  // Append() still writes to it
    const bool done = first == acknowledged_.segment && acknowledged_.offset >= segment.bytes;
    if (is_open || (first >= number && !done)) return;
    ::unlink(SegmentPath(first).c_str());
    bytes_ -= segment.bytes;
    segments_.erase(segments_.begin());
  }
}

Status Spool::KeepRefused(std::string_view body, int32_t http_status, int64_t now_ms) {
  const std::lock_guard lock(mutex_);
  const auto size = static_cast<int64_t>(body.size());
  // A person may have emptied the folder meanwhile.
  if (refused_bytes_ + size > options_.refused_bytes_max) RETURN_IF_ERROR(CountRefused());
  if (refused_bytes_ + size > options_.refused_bytes_max)
    return Status::Retry(fmt::format("'{}/refused' is full ({} bytes): inspect and empty it",
                                     options_.directory, refused_bytes_));
  const std::string path = fmt::format("{}/refused/{}-{}-{}.ndjson", options_.directory, now_ms,
                                       refused_sequence_++, http_status);
  // Synced, because the caller acknowledges the body now: this copy is the only one that is left.
  const File file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.ok() || !WriteAll(file.fd(), body) || ::fdatasync(file.fd()) != 0)
    return Status::Retry(
        fmt::format("the refused body '{}' cannot be written: {}", path, Reason()));
  refused_bytes_ += size;
  return Status::Ok();
}

Status Spool::Sync() {
  const std::lock_guard lock(mutex_);
  return SyncLocked();
}

Status Spool::SyncLocked() {
  if (segment_fd_ < 0 || !unsynced_) return Status::Ok();
  unsynced_ = false;
  last_sync_ = std::chrono::steady_clock::now();
  if (std::exchange(directory_unsynced_, false))
    static_cast<void>(SyncDirectory(options_.directory));
  if (::fdatasync(segment_fd_) == 0) return Status::Ok();
  const std::string reason = Reason();
  // After a failed sync the kernel may drop the dirty pages. New records go to another segment, so
  // that a hole cannot hide them.
  CloseSegment();
  return Status::Retry(
      fmt::format("the spool '{}' cannot be synced to disk: {}", options_.directory, reason));
}

void Spool::SyncIfDue() {
  const std::lock_guard lock(mutex_);
  const auto passed = std::chrono::steady_clock::now() - last_sync_;
  if (!unsynced_ || passed < std::chrono::milliseconds(options_.sync_interval.v)) return;
  if (const Status status = SyncLocked(); !status.ok()) LogError(status.message());
}

}  // namespace sightline
