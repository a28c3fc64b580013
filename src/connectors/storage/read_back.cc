#include "connectors/storage/read_back.h"

#include <algorithm>
#include <string>

namespace sightline {
namespace {

constexpr int64_t kPieceBytes = 8 << 20;

}  // namespace

Result<std::optional<bool>> HasContent(Storage& storage, std::string_view path,
                                       const Content& content) {
  const Result<std::optional<FileInfo>> file = storage.Stat(path);
  if (!file.ok()) return file.status();
  if (!file.value()) return std::optional<bool>();
  if (file.value()->size_bytes != content.size()) return std::optional(false);
  std::string wanted;
  for (int64_t offset = 0; offset < content.size(); offset += kPieceBytes) {
    const Result<std::optional<std::string>> there =
        storage.Read(path, {offset, offset + kPieceBytes});
    if (!there.ok()) return there.status();
    if (!there.value()) return std::optional<bool>();
    wanted.resize(static_cast<size_t>(std::min(kPieceBytes, content.size() - offset)));
    const Result<size_t> read = content.Read(offset, wanted);
    if (!read.ok()) return read.status();
    if (*there.value() != wanted) return std::optional(false);
  }
  return std::optional(true);
}

}  // namespace sightline
