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
  // Whether this one exists does not matter.
  return put.status().code() == StatusCode::kRebuild ? Status::Retry(put.status().message())
                                                     : put.status();
}

}  // namespace sightline
