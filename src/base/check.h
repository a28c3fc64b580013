// CHECK: what must be true on both sides of a boundary. On in release builds, so that a broken
// invariant stops the process before it reaches a sink. Never used on input.
#pragma once

namespace sightline {

// Called with the failed condition. The default prints and aborts; the simulator installs a handler
// that throws, to name the seed. Set before threads start.
using CheckFailedHandler = void (*)(const char* condition, const char* file, int line);
void SetCheckFailedHandler(CheckFailedHandler handler);
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace sightline

#define CHECK(condition)                                        \
  do {                                                          \
    if (!(condition)) [[unlikely]]                              \
      ::sightline::CheckFailed(#condition, __FILE__, __LINE__); \
  } while (0)
