// Measures the limits of replay and the cost of an id, and checks the results.
//
//   limits parse FILE      decodes every line, counts nothing: events per second on one thread
//   limits insert N        puts N ids into a hash set (boost unordered_flat_set): ids per second
//   limits memory N        sends N distinct detections through the operator: the most bytes per
//                          id over N/2..N ids, by the growth of the resident set
//
// Prints one JSON object.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/unordered/unordered_flat_set.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "base/check.h"
#include "batch/input.h"
#include "operators/count_operator.h"
#include "operators/decode.h"
#include "operators/id_memory.h"

namespace sightline {
namespace {

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

void Parse(const std::string& path) {
  const auto start = SteadyClock::now();
  Input input({path});
  Decoder decoder(DecodeRules{});
  LineBlock block;
  std::vector<Event> events;
  int64_t decoded = 0;
  for (;;) {
    const Result<bool> more = input.Next(&block);
    CHECK(more.ok());
    if (!more.value()) break;
    events.clear();
    decoder.Clear();
    decoder.Decode(block.text(), events);
    for (const Event& event : events) CHECK(event.kind == Event::Kind::kDetection);
    decoded += static_cast<int64_t>(events.size());
  }
  const double seconds = SecondsSince(start);
  fmt::print("{{\"events\":{},\"seconds\":{:.3f},\"per_second\":{:.0f}}}\n", decoded, seconds,
             static_cast<double>(decoded) / seconds);
}

void Insert(uint64_t n) {
  const auto start = SteadyClock::now();
  boost::unordered_flat_set<uint64_t> ids;
  for (uint64_t i = 0; i < n; ++i) ids.insert(HashId(i));
  const double seconds = SecondsSince(start);
  CHECK(ids.size() == n);
  fmt::print("{{\"ids\":{},\"seconds\":{:.3f},\"per_second\":{:.0f}}}\n", n, seconds,
             static_cast<double>(n) / seconds);
}

void Memory(int64_t n) {
  constexpr int64_t kBatch = 1'000;
  PipelineSpec spec;
  CountOperator op(spec);
  std::vector<Event> events(kBatch);
  const std::string item = "person";
  const int64_t before = ResidentBytes();
  double most = 0, last = 0;
  for (int64_t done = 0; done < n; done += kBatch) {
    for (int64_t i = 0; i < kBatch; ++i)
      events[static_cast<size_t>(i)] = {.camera = {(done + i) % 2'000},
                                        .location = {(done + i) % 200},
                                        .id = {done + i},
                                        .item = item,
                                        .time = {(done + i) * 1'800'000 / n}};
    op.OnEvents({done}, {1'800'000}, events);
    (void)op.TakeSegment({done}, {done + 1});
    if (done + kBatch < n / 2 || (done / kBatch) % 50 != 0) continue;
    last = static_cast<double>(ResidentBytes() - before) / static_cast<double>(done + kBatch);
    most = std::max(most, last);
  }
  CHECK(op.remembered_ids() == n);
  fmt::print("{{\"ids\":{},\"bytes_per_id_max\":{:.1f},\"bytes_per_id_at_end\":{:.1f}}}\n", n, most,
             last);
}

}  // namespace
}  // namespace sightline

int main(int argc, char** argv) {
  const std::string what = argc == 3 ? argv[1] : "";
  if (what == "parse") {
    sightline::Parse(argv[2]);
  } else if (what == "insert") {
    sightline::Insert(std::strtoull(argv[2], nullptr, 10));
  } else if (what == "memory") {
    sightline::Memory(std::strtoll(argv[2], nullptr, 10));
  } else {
    std::fputs("usage: limits parse FILE | insert N | memory N\n", stderr);
    return 2;
  }
  return 0;
}
