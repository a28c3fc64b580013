// TestLakeSource: a lake without files, where all rows are pending. For tests.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "query/lake_source.h"
#include "query/local_queries.h"

namespace sightline {

// 2026-01-01T00:00:00Z
constexpr int64_t kNewYearMs = 1'767'225'600'000;
constexpr int64_t kMinuteMs = 60'000;

// Two locations of Gate (1) and Plaza (2), and one without a name (3): buses, cars and people in
// the first two minutes of the year. Counted 10 + 5 + 3 + 1 = 19.
class TestLakeSource final : public LakeSource {
 public:
  TestLakeSource() {
    auto counts = std::make_shared<std::vector<CountIncrement>>();
    auto ledger = std::make_shared<std::vector<LedgerIncrement>>();
    auto add = [&](int64_t location, std::string item, int64_t minute, int64_t count) {
      const EventTime start{kNewYearMs + minute * kMinuteMs};
      counts->push_back({.location = {location},
                         .item = std::move(item),
                         .window = {start, {start.v + kMinuteMs}},
                         .count = count,
                         .first_detected = {start.v + 1},
                         .last_detected = {start.v + 2},
                         .source = {"log", 0},
                         .first = {0},
                         .next = {10}});
      LedgerRow row{.key = {.location = {location}, .camera = {location * 10}}};
      row.ledger.received = row.ledger.outcomes[static_cast<size_t>(Outcome::kCounted)] = count;
      ledger->push_back({.source = {"log", 0}, .first = {0}, .next = {10}, .row = row});
    };
    add(1, "bus", 0, 10);
    add(1, "car", 1, 5);
    add(2, "bus", 1, 3);
    add(3, "o'clock, \"quoted\"", 0, 1);
    state_.pending_counts = std::move(counts);
    state_.pending_ledger = std::move(ledger);
    state_.locations = std::make_shared<const std::vector<Location>>(std::vector<Location>{
        {.location = {1}, .name = "Gate"}, {.location = {2}, .name = "Plaza"}});
  }

  Result<std::shared_ptr<const LakeState>> Current() override {
    if (not_yet) return Status::Retry("partition 0 has not come to where it was");
    auto state = std::make_shared<LakeState>(state_);
    state->incomplete = incomplete;
    return std::shared_ptr<const LakeState>(std::move(state));
  }

  void SetTimeZone(LocationId location, const std::string& zone) {
    std::vector<Location> locations = *state_.locations;
    for (Location& known : locations)
      if (known.location == location) known.time_zone = zone;
    state_.locations = std::make_shared<const std::vector<Location>>(std::move(locations));
  }

  std::atomic<bool> not_yet = false;
  std::vector<IncompletePartition> incomplete;  // to be changed between queries

 private:
  LakeState state_;
};

inline std::unique_ptr<LocalQueries> TestQueries(std::shared_ptr<TestLakeSource> source,
                                                 int32_t queries_max = 2) {
  auto queries = LocalQueries::Create(
      std::move(source),
      {.directories = {"/nowhere"}, .memory_bytes_max = 256LL << 20, .queries_max = queries_max});
  CHECK(queries.ok());
  return std::move(queries).value();
}

}  // namespace sightline
