// What every fuzzer needs: the input in a buffer of its own, so that AddressSanitizer detects every
// byte that is read outside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

namespace sightline {

// A copy of `input`, followed by `padding` bytes of `filler` and nothing else.
class FuzzInput {
 public:
  FuzzInput(std::string_view input, size_t padding, char filler)
      : size_(input.size()), bytes_(new char[input.size() + padding]) {
    if (!input.empty()) std::memcpy(bytes_.get(), input.data(), input.size());
    std::memset(bytes_.get() + size_, filler, padding);
  }
  std::string_view view() const { return {bytes_.get(), size_}; }
  bool Holds(std::string_view part) const {
    return part.data() >= bytes_.get() && part.data() + part.size() <= bytes_.get() + size_;
  }

 private:
  size_t size_;
  std::unique_ptr<char[]> bytes_;
};

inline std::string_view ViewOf(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace sightline
