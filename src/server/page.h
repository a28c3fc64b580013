// Page: serves the dashboard's files, which are built into the program; for development, from a
// directory.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/http_message.h"

namespace sightline {

// Thread-safe.
class Page {
 public:
  // `web_dir`: the directory from which each request reads its file; "": serve the built-in files.
  explicit Page(std::string web_dir);
  // Answers a GET of `path`; "/" is index.html. `if_none_match` is the request's header. Only plain
  // file names are served, so that no path leads out of web_dir. 404 for anything else.
  Response Get(std::string_view path, std::string_view if_none_match) const;

 private:
  struct File {
    std::string_view name;
    std::string_view content;
    std::string etag;
  };
  const std::string web_dir_;
  std::vector<File> built_in_;
};

}  // namespace sightline
