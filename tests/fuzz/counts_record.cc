// CountsFold: whatever a counts topic contains, nothing crashes, what is read twice adds nothing,
// and the ledger of every commit balances. An input is the values of some records, one a line.

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "connectors/kafka/counts_fold.h"
#include "fuzz_input.h"

namespace sightline::kafka {
namespace {

void Check(std::string_view input) {
  CountsFold fold;
  for (int again = 0; again < 2; ++again) {
    for (std::string_view rest = input; !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
      const auto taken = fold.Take(line);
      if (!taken.ok() || !taken.value()) continue;
      const Segment& segment = taken.value()->segment;
      CHECK(segment.first < segment.next || segment.first == Offset{0});
      CHECK(segment.Total().Balanced());
      // Everything before the end of this commit is known from now on.
      CHECK(!fold.Take(line).value());
    }
  }
}

}  // namespace
}  // namespace sightline::kafka

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::kafka::Check(sightline::ViewOf(data, size));
  return 0;
}
