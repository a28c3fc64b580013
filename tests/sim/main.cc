// sightline_sim: deterministic simulation of the engine. A seed in, a verdict out.
//
//   sightline_sim [--first SEED] [--seeds N] [--threads N] [--mutant NAME]   a range of seeds
//   sightline_sim --seed SEED [--trace]                                      one seed, traced step
//   by step sightline_sim --mutants                    every planted bug must be caught within its
//   limit
//
// Exit code 0: no seed failed and everything was reached that must be (with --mutant: some seed
// failed).
#include <fmt/format.h>

#include <array>
#include <atomic>
#include <charconv>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/mutant.h"
#include "reach.h"
#include "run.h"
#include "world.h"

namespace sightline::sim {
namespace {

struct Planted {
  Mutant mutant;
  const char* name;
  int64_t seeds;  // it must be caught within this many seeds
};
constexpr Planted kPlanted[] = {
    {Mutant::kNoFence, "NO_FENCE", 3'000},
    {Mutant::kNoClaim, "NO_CLAIM", 20'000},
    {Mutant::kFenceFirst, "FENCE_FIRST", 40'000},
    {Mutant::kNoSecondLook, "NO_SECOND_LOOK", 20'000},
    {Mutant::kNoCompareAndSet, "NO_COMPARE_AND_SET", 3'000},
    {Mutant::kSealBeforeS, "SEAL_BEFORE_S", 3'000},
    {Mutant::kOneAccumulator, "ONE_ACCUMULATOR", 3'000},
    {Mutant::kReplayOutputOn, "REPLAY_OUTPUT_ON", 3'000},
    {Mutant::kLoseDedup, "LOSE_DEDUP", 3'000},
    {Mutant::kResetFields, "RESET_FIELDS", 3'000},
    {Mutant::kPartitionLateness, "PARTITION_LATENESS", 3'000},
    {Mutant::kLastCopy, "LAST_COPY", 3'000},
    {Mutant::kCopyConfirms, "COPY_CONFIRMS", 3'000},
    {Mutant::kLoseClocks, "LOSE_CLOCKS", 3'000},
    {Mutant::kBatchWatermark, "BATCH_WATERMARK", 3'000},
    {Mutant::kWholeRun, "WHOLE_RUN", 3'000},
    {Mutant::kSpillBeforePut, "SPILL_BEFORE_PUT", 3'000},
    {Mutant::kRunsRemovedEarly, "RUNS_REMOVED_EARLY", 3'000},
    {Mutant::kRunRemovedInPut, "RUN_REMOVED_IN_PUT", 3'000},
    {Mutant::kGapInOlderPut, "GAP_IN_OLDER_PUT", 20'000},
    {Mutant::kGapTwice, "GAP_TWICE", 3'000},
    {Mutant::kGapStraddles, "GAP_STRADDLES", 3'000},
    {Mutant::kEntryBeforeBody, "ENTRY_BEFORE_BODY", 3'000},
    {Mutant::kAnyOwner, "ANY_OWNER", 20'000},
    {Mutant::kZombieRemovesRuns, "ZOMBIE_REMOVES_RUNS", 20'000},
    {Mutant::kForgetByRecord, "FORGET_BY_RECORD", 3'000},
    {Mutant::kAnySettings, "ANY_SETTINGS", 3'000},
    {Mutant::kAdoptAnySettings, "ADOPT_ANY_SETTINGS", 3'000},
    {Mutant::kOffMissesTheList, "OFF_MISSES_THE_LIST", 3'000},
    {Mutant::kOffIsForgotten, "OFF_IS_FORGOTTEN", 20'000},
    {Mutant::kAnyFolder, "ANY_FOLDER", 3'000},
    {Mutant::kForgetCameraEarly, "FORGET_CAMERA_EARLY", 3'000},
};

struct Options {
  uint64_t first = 1;
  int64_t seeds = 20'000;
  int threads = 2;
  bool trace = false;
  bool mutants = false;
  std::optional<Planted> mutant;
};

struct Failures {
  int64_t seeds = 0;
  uint64_t first_seed = 0;
  std::map<std::string, std::pair<int64_t, uint64_t>> reasons;  // how often, and the first seed
};

class Campaign {
 public:
  Campaign(uint64_t first, int64_t seeds, bool until_first_failure)
      : first_(first), seeds_(seeds), until_first_failure_(until_first_failure) {}

  void Run(int threads) {
    std::vector<std::jthread> workers;
    for (int i = 1; i < threads; ++i) workers.emplace_back([this] { Work(); });
    Work();
  }
  const Failures& failures() const { return failures_; }
  const Reached& all_reached() const { return reached_; }

 private:
  void Work() {
    reached = {};
    for (int64_t n = taken_++; n < seeds_; n = taken_++) {
      if (until_first_failure_ && failed_) break;
      const uint64_t seed = first_ + static_cast<uint64_t>(n);
      try {
        RunSeed(seed);
      } catch (const Violation& violation) {
        Failed(seed, violation.what());
      }
    }
    const std::lock_guard lock(mutex_);
    reached_.Add(reached);
  }
  void Failed(uint64_t seed, const std::string& reason) {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    if (failures_.seeds++ == 0 || seed < failures_.first_seed) failures_.first_seed = seed;
    std::string kind;  // without digits: offsets differ from seed to seed, reasons do not
    for (const char c : reason)
      if (c < '0' || c > '9') kind += c;
    auto& [times, example] = failures_.reasons[kind.substr(0, 120)];
    if (times++ == 0 || seed < example) example = seed;
  }

  const uint64_t first_;
  const int64_t seeds_;
  const bool until_first_failure_;
  std::atomic<int64_t> taken_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;  // guards the members below
  Failures failures_;
  Reached reached_;
};

// Prints how often everything happened that must happen for the run to prove anything. Returns how
// many of these things are missing.
int64_t ReportReach(const Reached& all, int64_t seeds) {
  int64_t missing = 0;
  for (size_t i = 0; i < all.times.size(); ++i) {
    fmt::print("  {:34} {}\n", kReachNames[i], all.times[i]);
    missing += all.times[i] == 0;
  }
  using enum Write;
  std::vector<std::pair<Write, Write>> points = {{kNothing, kClaim},
                                                 {kClaim, kFenceTopic},
                                                 {kFenceTopic, kFenceLake},
                                                 {kFenceLake, kFenceRemote}};
  for (const Write before : {kFenceRemote, kTopic, kLake, kRemote, kPut})
    for (const Write after : {kTopic, kLake, kRemote, kPut}) points.push_back({before, after});
  const size_t common = points.size();  // the points after these need an absent sink
  for (const Write after : {kTopic, kLake, kRemote, kPut, kRun}) points.push_back({kRun, after});
  for (const Write before : {kTopic, kLake, kRemote, kPut}) points.push_back({before, kRun});
  points.insert(points.end(), {{kPut, kRemoveRuns}, {kFenceRemote, kRemoveRuns}});
  points.insert(points.end(), {{kPut, kRemoveOlder}, {kTopic, kBody}});
  for (size_t i = 0; i < points.size(); ++i) {
    const auto& [before, after] = points[i];
    const int64_t n = all.crashes[static_cast<size_t>(before)][static_cast<size_t>(after)];
    fmt::print("  crash between {:13} and {:13} {}\n", kWriteNames[static_cast<size_t>(before)],
               kWriteNames[static_cast<size_t>(after)], n);
    // A short campaign (under a sanitizer) cannot prove that rare things happen.
    const int64_t least = seeds < 2'000 ? i < common : seeds / (i < common ? 300 : 2'000);
    missing += n < least;
  }
  return missing;
}

int RunSeeds(const Options& options) {
  Campaign campaign(options.first, options.seeds, /*until_first_failure=*/false);
  campaign.Run(options.threads);
  const Failures& failures = campaign.failures();
  for (const auto& [reason, times] : failures.reasons)
    fmt::print("  {} x {} (make sim SEED={})\n", times.first, reason, times.second);
  const bool enough = options.seeds >= 200 && failures.seeds == 0;
  const int64_t missing = enough ? ReportReach(campaign.all_reached(), options.seeds) : 0;
  if (missing != 0) fmt::print("{} things happened too rarely to prove much\n", missing);
  fmt::print("{} seeds, {} crashes, {} failing seeds\n", options.seeds,
             campaign.all_reached().times[static_cast<size_t>(Reach::crash)], failures.seeds);
  if (options.mutant) return failures.seeds > 0 ? 0 : 1;
  return failures.seeds > 0 || missing > 0 ? 1 : 0;
}

int RunMutants(int threads) {
  int escaped = 0;
  for (const Planted& planted : kPlanted) {
    planted_mutant = planted.mutant;
    Campaign campaign(1, planted.seeds, /*until_first_failure=*/true);
    campaign.Run(threads);
    if (campaign.failures().seeds > 0) {
      fmt::print("{:20} caught by seed {}\n", planted.name, campaign.failures().first_seed);
    } else {
      ++escaped;
      fmt::print("{:20} NOT caught by {} seeds\n", planted.name, planted.seeds);
    }
    std::fflush(stdout);
  }
  planted_mutant = Mutant::kNone;
  return escaped == 0 ? 0 : 1;
}

std::optional<int64_t> Number(const char* text) {
  int64_t value = 0;
  const char* end = text + std::strlen(text);
  const auto parsed = std::from_chars(text, end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end || value < 0) return std::nullopt;
  return value;
}

std::optional<Options> Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--trace" || name == "--mutants") {
      (name == "--trace" ? options.trace : options.mutants) = true;
      continue;
    }
    if (++i == argc) return std::nullopt;
    if (name == "--mutant") {
      for (const Planted& planted : kPlanted)
        if (std::string_view(planted.name) == argv[i]) options.mutant = planted;
      if (!options.mutant) return std::nullopt;
      continue;
    }
    const std::optional<int64_t> value = Number(argv[i]);
    if (!value) return std::nullopt;
    if (name == "--first" || name == "--seed") options.first = static_cast<uint64_t>(*value);
    if (name == "--seed") options.seeds = 1;
    if (name == "--seeds") options.seeds = *value;
    if (name == "--threads") options.threads = static_cast<int>(*value);
  }
  if (options.seeds == 1 || options.trace) options.threads = 1;
  return options;
}

}  // namespace
}  // namespace sightline::sim

int main(int argc, char** argv) {
  using namespace sightline;  // NOLINT
  const std::optional<sim::Options> options = sim::Parse(argc, argv);
  if (!options) {
    fmt::print(stderr, "usage: see the head of tests/sim/main.cc\n");
    return 2;
  }
  SetCheckFailedHandler([](const char* condition, const char* file, int line) {
    throw sim::Violation(fmt::format("CHECK failed at {}:{}: {}", file, line, condition));
  });
  sim::tracing = options->trace;
  if (options->mutants) return sim::RunMutants(options->threads);
  if (options->mutant) planted_mutant = options->mutant->mutant;
  return sim::RunSeeds(*options);
}
