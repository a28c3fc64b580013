// UTF-8: validation, and the width of a character on a terminal. Pure functions.
#pragma once

#include <cstdint>
#include <string_view>

namespace sightline {

// The first code point of `text` and its length in bytes. Length 0: `text` is empty or does not
// begin with UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
struct CodePoint {
  uint32_t value = 0;
  size_t length = 0;
};
CodePoint FirstCodePoint(std::string_view text);

bool IsUtf8(std::string_view text);

// The columns that a character takes on a terminal: 2 for East Asian wide characters and emoji, 0
// for combining marks, else 1. Covers the common blocks, not all of Unicode's table.
int DisplayWidth(uint32_t code_point);

}  // namespace sightline
