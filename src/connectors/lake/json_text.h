// Pieces of JSON, hashes and names as the log writes them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sightline::lake {

// A JSON string with its quotes. `text` is UTF-8.
std::string Quoted(std::string_view text);

// FNV-1a, 64 bits, as 16 hexadecimal digits: finds damage, is no defence against an adversary.
// Source: Fowler, Noll, Vo.
std::string ContentHash(std::string_view bytes);

// A random UUID (version 4).
std::string RandomId();

// What the log writes as %XX.
std::string UrlDecoded(std::string_view text);

}  // namespace sightline::lake
