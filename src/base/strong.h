// Strong<Tag>: a 64-bit integer with a type of its own, so that an offset cannot be passed as a
// time.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace sightline {

template <typename Tag>
struct Strong {
  int64_t v = 0;
  friend constexpr auto operator<=>(const Strong&, const Strong&) = default;
};

}  // namespace sightline

template <typename Tag>
struct std::hash<sightline::Strong<Tag>> {
  size_t operator()(const sightline::Strong<Tag>& strong) const noexcept {
    // The finaliser of splitmix64 (Steele, Lea, Flood 2014) spreads ids, which are often
    // consecutive.
    auto x = static_cast<uint64_t>(strong.v);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
  }
};
