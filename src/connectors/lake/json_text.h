// Pieces of JSON, hashes and names in the form that the log uses.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sightline::lake {

// A JSON string with its quotes. `text` is UTF-8.
std::string Quoted(std::string_view text);

// 64-bit FNV-1a as 16 hexadecimal digits. It finds damage; it is no defence against an adversary.
// Source: Fowler, Noll, Vo.
std::string ContentHash(std::string_view bytes);

// A random UUID (version 4).
std::string RandomId();

// Decodes the %XX escapes of a path in the log.
std::string UrlDecoded(std::string_view text);

}  // namespace sightline::lake
