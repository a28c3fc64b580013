// UTF-8: is it, and how wide is it on a terminal.
#pragma once

#include <cstdint>
#include <string_view>

namespace sightline {

// The code point that `text` begins with and its length; length 0: not UTF-8 (RFC 3629: no overlong
// forms, no surrogates, nothing above U+10FFFF) or empty.
struct CodePoint {
  uint32_t value = 0;
  size_t length = 0;
};
CodePoint FirstCodePoint(std::string_view text);

bool IsUtf8(std::string_view text);

// Columns on a terminal: 2 for East Asian wide characters and emoji, 0 for combining marks, else 1.
// The blocks that are common, not the whole of Unicode's table.
int DisplayWidth(uint32_t code_point);

}  // namespace sightline
