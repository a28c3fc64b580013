#include "connectors/storage/storage.h"

#include <fmt/format.h>

#include <random>

#include "connectors/storage/storage_path.h"

namespace sightline {

std::string Storage::UniquePutName() {
  std::random_device random;
  return fmt::format("{}{:08x}{:08x}{:08x}{:08x}", kPutPrefix, random(), random(), random(),
                     random());
}

Result<PutOutcome> Storage::Put(std::string_view path, Content content, PutMode mode) {
  const NewFile file{std::string(path), content};
  return PutFiles({&file, 1}, mode);
}

Status Storage::Confirm(std::string_view path) {
  RETURN_IF_ERROR(CheckStoragePath(path));
  const std::string beside =
      std::string(path.substr(0, path.rfind('/') + 1)) + UniquePutName();  // npos + 1 is 0
  const Result<PutOutcome> put = Put(beside, "", PutMode::kReplace);
  if (put.ok()) (void)Delete(beside);
  // Of the file beside it, an unknown outcome is none: the caller confirms again.
  return put.status().code() == StatusCode::kRebuild ? Status::Retry(put.status().message())
                                                     : put.status();
}

Result<int64_t> Storage::NowMs(std::string_view directory) {
  const std::string path =
      directory.empty() ? UniquePutName() : fmt::format("{}/{}", directory, UniquePutName());
  const Result<PutOutcome> put = Put(path, "", PutMode::kReplace);
  if (!put.ok()) return Status::Retry(put.status().message());
  const Result<std::optional<FileInfo>> file = Stat(path);
  (void)Delete(path);
  if (!file.ok()) return file.status();
  if (!file.value())
    return Status::Retry(fmt::format(
        "'{}' was deleted before its time could be read: somebody vacuums too young files", path));
  return file.value()->modified_ms;
}

}  // namespace sightline
