#include "connectors/storage/storage_path.h"

#include <fmt/format.h>

#include <algorithm>

namespace sightline {
namespace {

Status BadPath(std::string_view path, std::string_view why) {
  return Status::Stop(fmt::format("path '{}' is refused: {}", path, why));
}

}  // namespace

Status CheckStoragePath(std::string_view path) {
  if (path.find('\0') != std::string_view::npos) return BadPath(path, "it contains a zero byte");
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string_view component = path.substr(start, end - start);
    if (component.empty() || component == "." || component == "..")
      return BadPath(path, "it must be relative, without empty components, '.' and '..'");
    start = end + 1;
  }
  return Status::Ok();
}

std::pair<std::string_view, std::string> DivideStoragePath(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {"", std::string(path)};
  return {path.substr(0, slash), std::string(path.substr(slash + 1))};
}

}  // namespace sightline
