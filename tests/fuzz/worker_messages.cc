// What a query worker sends to the server: a question may have taken it over, so it may be
// anything. What is accepted stays the same when it is encoded and decoded again.

#include <cstdint>
#include <string>

#include "base/check.h"
#include "fuzz_input.h"
#include "workers/messages.h"

namespace sightline {
namespace {

void Check(std::string_view bytes) {
  const FuzzInput input(bytes, 0, '\0');
  if (const Result<ViewBounds> needs = DecodeNeeds(input.view()); needs.ok())
    CHECK(DecodeNeeds(EncodeNeeds(needs.value())).value() == needs.value());
  if (const Result<EndMessage> end = DecodeEnd(input.view()); end.ok()) {
    const std::string encoded = Encode(end.value());
    CHECK(Encode(DecodeEnd(encoded).value()) == encoded);
  }
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::Check(sightline::ViewOf(data, size));
  return 0;
}
