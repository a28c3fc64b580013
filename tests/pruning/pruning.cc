// Asks generated questions of one lake in ways that must agree: as they are, with the skipping of
// files switched off, and with disguised columns, from which no bound can come. Every sixth is also
// asked of a lake with the same rows whose paths say something else than its log. Fails on the
// first difference, and when so few questions skip a file or find a row that the test would prove
// nothing.
//
//   sightline_pruning [--seed S] [--questions N] [--only NUMBER]
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstring>
#include <mutex>
#include <sstream>
#include <thread>

#include "query/test_lake.h"
#include "questions.h"

namespace sightline::pruning {
namespace {

constexpr int kThreads = 2;

struct Options {
  uint64_t seed = 1, questions = 3000;
  std::optional<uint64_t> only;
};

enum class Place { kFileOfLocation, kFileOfDay, kPending };

// Where the rows of a location and a day are. Few files, because each costs every question some
// system calls.
Place PlaceOf(size_t location, size_t day) {
  if ((location + day) % 2 == 0) return Place::kFileOfLocation;
  return day % 2 == 0 ? Place::kFileOfDay : Place::kPending;
}

// Counts in the first, a middle and the last minute of each day.
std::vector<CountIncrement> Counts(Place place) {
  std::vector<CountIncrement> rows;
  int64_t count = 0;
  for (size_t day = 0; day < std::size(kDays); ++day) {
    const int64_t minute = (ParseDay(kDays[day])->v - DayOf(kNewYear).v) * 24 * 60;
    for (size_t location = 0; location < std::size(kOids); ++location) {
      for (const int64_t at : {0, 480, 1439}) {
        ++count;
        if (PlaceOf(location, day) != place) continue;
        rows.push_back(
            Increment(kOids[location], count % 3 != 0 ? "car" : "bus", minute + at, count));
      }
    }
  }
  return rows;
}

std::vector<LedgerIncrement> Ledger(const char* day) {
  std::vector<LedgerIncrement> rows;
  for (const int64_t oid : kOids) {
    for (const int64_t hour : {0, 23}) {
      LedgerIncrement row{.source = {"log", static_cast<int32_t>(hour)}, .first = {0}, .next = {9}};
      row.row.key = {true, {oid}, {70}, {ParseDay(day)->v * kDayMs + hour * 3'600'000}};
      row.row.ledger.received = row.row.ledger.outcomes[0] = 1 + hour + (oid & 15);
      rows.push_back(row);
    }
  }
  rows.push_back({.source = {"files", 0}, .row = {.key = {.known = false, .hour = kNoAppendTime}}});
  return rows;
}

void Fill(TestLake& lake) {
  lake.WriteCounts(Counts(Place::kFileOfLocation));
  lake.WriteCounts(Counts(Place::kFileOfDay), /*bucketed=*/true);
  lake.state.pending_counts =
      std::make_shared<const std::vector<CountIncrement>>(Counts(Place::kPending));
  lake.WriteLedger(Ledger(kDays[0]));
  lake.WriteLedger(Ledger(kDays[1]), /*with_lost=*/false);
  lake.WriteLedger(Ledger(kDays[3]));
  lake.state.pending_ledger =
      std::make_shared<const std::vector<LedgerIncrement>>(Ledger(kDays[2]));
  lake.state.locations = std::make_shared<const std::vector<Location>>(std::vector<Location>{
      {{7}, "Gate"}, {{8}, "Hall"}, {{-7}, "Yard"}, {{0}, "Nowhere"}, {{99}, "Empty"}});
}

struct Lakes {
  std::shared_ptr<TestLake> plain = std::make_shared<TestLake>();
  // The same rows below directories, and in files, whose names say other days and locations.
  std::shared_ptr<TestLake> odd =
      std::make_shared<TestLake>("date=2020-01-01/geographical_location_oid=8");
  Lakes() {
    Fill(*plain);
    Fill(*odd);
    int file = 0;
    odd->MoveCounts([&](const LakeFile&) {
      ++file;
      return file % 2 == 0 ? fmt::format("x{}.parquet", file)
                           : fmt::format(
                                 "date=2026-01-01/geographical_location_oid=7/item_count=3/"
                                 "part-{}.parquet",
                                 file);
    });
  }
};

// The engines of one thread.
struct Engines {
  explicit Engines(const Lakes& lakes)
      : pruned(Open(lakes.plain, true)),
        whole(Open(lakes.plain, false)),
        odd(Open(lakes.odd, true)) {}
  static std::unique_ptr<QueryEngine> Open(const std::shared_ptr<TestLake>& lake, bool prune) {
    auto engine = QueryEngine::Create(lake, {.directories = {lake->directory()},
                                             .memory_bytes_max = 256LL << 20,
                                             .threads = 1,
                                             .prune = prune});
    CHECK(engine.ok());
    return std::move(engine).value();
  }
  std::unique_ptr<QueryEngine> pruned, whole, odd;
};

// The rows in one order, because SQL leaves it open; "error" for each failure, because two ways may
// meet different mistakes of one question first.
std::string Answer(QueryEngine& engine, const std::string& sql, const Scope& scope) {
  const std::string written = Written(engine.Run(sql, scope, {}));
  if (written.starts_with("error: ")) return "error";
  std::istringstream in(written);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::ranges::sort(lines);
  std::string sorted;
  for (const std::string& line : lines) sorted += line + '\n';
  return sorted;
}

struct Tally {
  std::atomic<uint64_t> asked = 0, errors = 0, skipped_files = 0, skipped_and_found = 0;
  std::atomic<uint64_t> different = 0;
};

// Whether all ways agree on the question of this number.
bool Agree(const Engines& engines, const Options& options, uint64_t number, Tally& tally) {
  static std::mutex printing;
  const Question question = Ask(options.seed, number);
  const Scope scope = number % 5 == 0 ? Scope{std::set<LocationId>{{7}, {-7}, {0}}} : Scope::All();
  const int64_t before = engines.pruned->files_selected() - engines.whole->files_selected();
  const std::string pruned = Answer(*engines.pruned, question.sql, scope);
  const std::string disguised = Answer(*engines.whole, question.disguised, scope);
  const bool skipped = engines.pruned->files_selected() - engines.whole->files_selected() < before;
  // Of the same files the answer is the same.
  const std::string whole = skipped ? Answer(*engines.whole, question.sql, scope) : pruned;
  const std::string odd = number % 6 == 0 ? Answer(*engines.odd, question.sql, scope) : whole;

  ++tally.asked;
  if (whole == "error") ++tally.errors;
  if (skipped && whole != "error") ++tally.skipped_files;
  if (skipped && whole != "error" && !whole.empty()) ++tally.skipped_and_found;
  if (pruned == whole && disguised == whole && odd == whole) return true;
  ++tally.different;
  const std::lock_guard lock(printing);
  fmt::print(
      "seed {} question {}:\n{}\n--- as it is:\n{}--- without skipping files:\n{}--- disguised:\n{}"
      "--- where paths say something else:\n{}\n",
      options.seed, number, question.sql, pruned, whole, disguised, odd);
  if (options.only) {
    fmt::print("disguised: {}\n", question.disguised);
    for (const auto& engine : {&engines.pruned, &engines.whole, &engines.odd})
      fmt::print("{}\n", Written((*engine)->Run(question.sql, scope, {})));
  }
  return false;
}

int Run(const Options& options) {
  const Lakes lakes;
  Tally tally;
  std::atomic<uint64_t> next = options.only.value_or(0);
  const uint64_t end = options.only ? *options.only + 1 : options.questions;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        const Engines engines(lakes);
        // A few differences tell more about their kind than one.
        for (uint64_t number = next++; number < end && tally.different < 10; number = next++) {
          Agree(engines, options, number, tally);
        }
      });
    }
  }
  fmt::print("{} questions: {} skipped files, {} of them found rows; {} errors; {} differ\n",
             tally.asked.load(), tally.skipped_files.load(), tally.skipped_and_found.load(),
             tally.errors.load(), tally.different.load());
  if (tally.different > 0) return 1;
  if (options.only) return 0;
  const bool healthy = tally.skipped_and_found * 15 > tally.asked && tally.errors * 3 < tally.asked;
  if (!healthy) fmt::print("too few questions skip files and find rows, or too many are errors\n");
  return healthy ? 0 : 1;
}

std::optional<Options> Parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i + 1 < count; i += 2) {
    uint64_t value = 0;
    const char* const text = arguments[i + 1];
    const char* const end = text + std::strlen(text);
    if (std::from_chars(text, end, value).ptr != end) return std::nullopt;
    const std::string_view name = arguments[i];
    if (name == "--seed") {
      options.seed = value;
    } else if (name == "--questions") {
      options.questions = value;
    } else if (name == "--only") {
      options.only = value;
    } else {
      return std::nullopt;
    }
  }
  return count % 2 == 1 ? std::optional(options) : std::nullopt;
}

}  // namespace
}  // namespace sightline::pruning

int main(int count, char** arguments) {
  const auto options = sightline::pruning::Parse(count, arguments);
  if (!options) {
    fmt::print("usage: sightline_pruning [--seed S] [--questions N] [--only NUMBER]\n");
    return 2;
  }
  return sightline::pruning::Run(*options);
}
