// CHECK: an invariant that must hold on both sides of a boundary. It stays on in release builds, so
// that a broken invariant stops the process before wrong data reaches a sink. It is never used on
// input.
#pragma once

namespace sightline {

// The handler is called with the condition that failed. The default prints it and aborts. The
// simulator installs a handler that throws, so that it can name the seed. Set it before any thread
// starts.
using CheckFailedHandler = void (*)(const char* condition, const char* file, int line);
void SetCheckFailedHandler(CheckFailedHandler handler);
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace sightline

#define CHECK(condition)                                        \
  do {                                                          \
    if (!(condition)) [[unlikely]]                              \
      ::sightline::CheckFailed(#condition, __FILE__, __LINE__); \
  } while (0)
