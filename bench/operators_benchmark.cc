// Measures what one event costs in the operators: decoding it, and counting it (every tenth is a
// copy).

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "operators/count_operator.h"
#include "operators/decode.h"

namespace sightline {
namespace {

constexpr int64_t kStartMs = 1'763'800'020'000;
constexpr int64_t kEvents = 200'000;

// A second of ten cameras' events each; every tenth is a copy of the one before.
const std::vector<std::string>& Messages() {
  static const std::vector<std::string> messages = [] {
    std::vector<std::string> made;
    for (int64_t i = 0; i < kEvents; ++i) {
      const int64_t n = i % 10 == 9 ? i - 1 : i;
      made.push_back(fmt::format(
          "{{\"geographical_location_oid\":{},\"video_camera_oid\":{},\"detection_oid\":{},"
          "\"item_name\":\"item {}\",\"timestamp_detected\":{}}}",
          n * 7 % 200, n * 7 % 2'000, 100'000'000 + n * 2'654'435'761 % 4'294'967'296, n * 31 % 50,
          kStartMs + n / 10));
      made.back().append(kDecodePadding, ' ');
    }
    return made;
  }();
  return messages;
}

std::string_view PayloadOf(const std::string& padded) {
  return {padded.data(), padded.size() - kDecodePadding};
}

void Decode(benchmark::State& state) {
  const std::vector<std::string>& messages = Messages();
  Decoder decoder(DecodeRules{});
  std::vector<Event> events;
  size_t next = 0;
  for (auto _ : state) {
    events.clear();
    decoder.Decode(PayloadOf(messages[next]), events);
    benchmark::DoNotOptimize(events.data());
    next = next + 1 == messages.size() ? 0 : next + 1;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Decode);

void Count(benchmark::State& state) {
  const std::vector<std::string>& messages = Messages();
  for (auto _ : state) {
    CountOperator count{PipelineSpec{}};
    count.BeginBatch();
    for (int64_t i = 0; i < kEvents; ++i)
      count.OnRecord({i}, {kStartMs + i / 10}, PayloadOf(messages[static_cast<size_t>(i)]));
    const Ledger total = count.TakeSegment({0}, {kEvents}).Total();
    CHECK(total.of(Outcome::kCounted) == kEvents / 10 * 9);
    CHECK(total.of(Outcome::kDuplicate) == kEvents / 10);
  }
  state.SetItemsProcessed(state.iterations() * kEvents);
}
BENCHMARK(Count)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sightline

BENCHMARK_MAIN();
