#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace sightline {
namespace {
CheckFailedHandler handler_ = nullptr;
}

void SetCheckFailedHandler(CheckFailedHandler handler) { handler_ = handler; }

void CheckFailed(const char* condition, const char* file, int line) {
  if (handler_ != nullptr) handler_(condition, file, line);
  std::fprintf(stderr, "CHECK failed: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace sightline
