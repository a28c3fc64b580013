#include "server/spool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace sightline {
namespace {

Status CannotStore(int error) {
  return Status::Retry(fmt::format("the answer cannot be stored for sending: {}: ask again later",
                                   std::strerror(error)));
}

}  // namespace

Spool::Spool(SpoolBudget* budget)
    : budget_(budget),
      memory_claim_(budget == nullptr ? nullptr : &budget->memory),
      disk_claim_(budget == nullptr ? nullptr : &budget->disk) {}

Status Spool::Append(std::string_view bytes) {
  const auto more = static_cast<int64_t>(bytes.size());
  if (budget_ != nullptr && size() + more > budget_->answer_bytes_max) {
    too_large_ = true;
    return Status::Stop(fmt::format(
        "the answer is larger than {} MiB, half of query.answer_disk_max: ask for fewer rows or "
        "columns, or read the lake's files (docs/LAKE.md)",
        budget_->answer_bytes_max >> 20));
  }
  const auto in_memory = static_cast<int64_t>(memory_.size()) + more;
  const bool fits = file_bytes_ == 0 && (budget_ == nullptr || in_memory <= kMemoryBytesMax);
  if (fits && memory_claim_.Resize(in_memory)) {
    memory_ += bytes;
    return Status::Ok();
  }
  return AppendToFile(bytes);
}

Status Spool::AppendToFile(std::string_view bytes) {
  if (!disk_claim_.Resize(file_bytes_ + static_cast<int64_t>(bytes.size())))
    return Status::Retry(
        "the answers in progress use up query.answer_disk_max: ask again later, or ask for fewer "
        "rows");
  if (file_ == nullptr) {
    std::error_code none;
    const std::filesystem::path dir = std::filesystem::temp_directory_path(none);
    file_ = std::make_unique<const File>(
        open(none ? "/tmp" : dir.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR));
    if (!file_->ok()) {
      const int error = errno;
      file_.reset();
      return CannotStore(error);
    }
  }
  while (!bytes.empty()) {
    const ssize_t count = pwrite(file_->fd(), bytes.data(), bytes.size(), file_bytes_);
    if (count < 0 && errno != EINTR) return CannotStore(errno);
    if (count <= 0) continue;
    file_bytes_ += count;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return Status::Ok();
}

void Spool::Clear() {
  memory_.clear();
  file_.reset();
  file_bytes_ = 0;
  (void)memory_claim_.Resize(0);
  (void)disk_claim_.Resize(0);
}

Result<size_t> Spool::Read(int64_t offset, std::span<char> into) const {
  const auto in_memory = static_cast<int64_t>(memory_.size());
  if (offset < in_memory) {
    const std::string_view part =
        std::string_view(memory_).substr(static_cast<size_t>(offset), into.size());
    std::ranges::copy(part, into.begin());
    return part.size();
  }
  if (file_ == nullptr) return size_t{0};
  for (;;) {
    const ssize_t count = pread(file_->fd(), into.data(), into.size(), offset - in_memory);
    if (count >= 0) return static_cast<size_t>(count);
    if (errno != EINTR) return SystemError(errno, "read", "an answer");
  }
}

}  // namespace sightline
