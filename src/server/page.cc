#include "server/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

// The table that page_files.cmake writes into page_files.S; an entry of nulls ends it.
struct SightlinePageFile {
  const char* name;
  const char* begin;
  const char* end;
};
extern "C" const SightlinePageFile sightline_page_files[];

namespace sightline {
namespace {

std::string_view ContentType(std::string_view name) {
  const std::string_view extension = name.substr(std::min(name.rfind('.'), name.size()));
  if (extension == ".html") return "text/html; charset=utf-8";
  if (extension == ".css") return "text/css; charset=utf-8";
  if (extension == ".js") return "text/javascript; charset=utf-8";
  if (extension == ".json") return "application/json";
  if (extension == ".svg") return "image/svg+xml";
  return "application/octet-stream";
}

// FNV-1a, 64 bits (Fowler, Noll, Vo). It only has to tell the versions of a file apart.
std::string EtagOf(std::string_view content) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : content) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3ull;
  }
  return fmt::format("\"{:016x}\"", hash);
}

bool IsPlainName(std::string_view name) {
  if (name.empty() || name.front() == '.') return false;
  return std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '-' || c == '_';
  });
}

std::optional<std::string> ReadFile(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

Response Answer(std::string_view name, std::string_view content, const std::string& etag,
                std::string_view if_none_match) {
  Response response{.content_type = std::string(ContentType(name))};
  response.headers.emplace_back("ETag", etag);
  response.headers.emplace_back("Cache-Control", "no-cache");  // revalidate each time, by ETag
  if (if_none_match.find(etag) != if_none_match.npos) {
    response.status = 304;
  } else {
    response.body = content;
  }
  return response;
}

}  // namespace

Page::Page(std::string web_dir) : web_dir_(std::move(web_dir)) {
  for (const SightlinePageFile* file = sightline_page_files; file->name != nullptr; ++file) {
    const std::string_view content(file->begin, static_cast<size_t>(file->end - file->begin));
    built_in_.push_back({file->name, content, EtagOf(content)});
  }
}

Response Page::Get(std::string_view path, std::string_view if_none_match) const {
  const std::string_view name = path == "/" ? "index.html" : path.substr(1);
  if (IsPlainName(name) && !web_dir_.empty()) {
    if (const auto content = ReadFile(std::filesystem::path(web_dir_) / name))
      return Answer(name, *content, EtagOf(*content), if_none_match);
  } else if (IsPlainName(name)) {
    for (const File& file : built_in_)
      if (file.name == name) return Answer(name, file.content, file.etag, if_none_match);
  }
  return Problem(404, fmt::format("\"{:.200}\" does not exist here: the page is \"/\"", path));
}

}  // namespace sightline
