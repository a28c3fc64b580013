// Finds where JSON values end, from braces, strings and commas alone. Nothing is validated: a
// broken element must not hide where the next one begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sightline {

// Without the white space of JSON at both ends.
inline std::string_view Trim(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// Walks over `text`, skipping strings, until `stop(c, depth)` is true, and returns that position;
// npos if it never is. `depth` is then the nesting at the end; a string that does not end counts as
// one level.
template <typename Stop>
size_t WalkJson(std::string_view text, int64_t* depth, Stop stop) {
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i)
        if (text[i] == '\\') ++i;
      if (i >= text.size()) ++*depth;
      continue;
    }
    if (stop(c, *depth)) return i;
    if (c == '{' || c == '[') ++*depth;
    if (c == '}' || c == ']') --*depth;
  }
  return std::string_view::npos;
}

// Where the element of an array that begins at `text` ends: at a ',' or ']' on its own level. npos
// if the text ends before.
inline size_t EndOfElement(std::string_view text) {
  int64_t depth = 0;
  return WalkJson(text, &depth,
                  [](char c, int64_t at) { return at == 0 && (c == ',' || c == ']'); });
}

// Whether the text ends inside an object, an array or a string.
inline bool EndsInside(std::string_view text) {
  int64_t depth = 0;
  WalkJson(text, &depth, [](char, int64_t) { return false; });
  return depth > 0;
}

}  // namespace sightline
