// Runs every example of docs/SQL.md and compares what it prints with what the page shows.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "query/test_lake.h"

namespace sightline {
namespace {

// What stands between `begin` and "```", from `at` on; moves `at` behind it.
std::string Block(const std::string& page, const std::string& begin, size_t& at) {
  at = page.find(begin, at);
  if (at == std::string::npos) return {};
  const size_t start = at + begin.size();
  at = page.find("```", start);
  return page.substr(start, at - start);
}

TEST(SqlDocTest, ExamplesPrintWhatThePageShows) {
  auto lake = std::make_shared<TestLake>();
  lake->WriteCounts({Increment(7001, "bus", 480, 12), Increment(7001, "car", 480, 30),
                     Increment(7001, "car", 541, 25), Increment(7002, "bicycle", 545, 9)});
  lake->state.pending_counts = std::make_shared<const std::vector<CountIncrement>>(
      std::vector{Increment(7001, "bus", 480, 2)});
  lake->state.locations = std::make_shared<const std::vector<Location>>(
      std::vector<Location>{{{7001}, "Gate 4"}, {{7002}, "Harbour"}, {{7003}, "Station"}});
  LedgerIncrement ledger{.source = {"log", 0}, .first = {0}, .next = {90}};
  ledger.row = {.key = {true, {7001}, {41}, {kNewYear.v + 8 * 3'600'000}}};
  ledger.row.ledger.received = 72;
  ledger.row.ledger.outcomes = {69, 2, 1, 0, 0, 0};
  lake->WriteLedger({ledger});
  const auto engine = Engine(lake);

  std::ifstream file(SIGHTLINE_DOCS "/SQL.md");
  std::stringstream text;
  text << file.rdbuf();
  const std::string page = text.str();
  int examples = 0;
  for (size_t at = 0;; ++examples) {
    const std::string sql = Block(page, "```sql\n", at);
    if (sql.empty()) break;
    EXPECT_EQ(Written(engine->Run(sql, Scope::All(), {}), ResultFormat::kTable),
              Block(page, "```text\n", at))
        << sql;
  }
  EXPECT_GE(examples, 6);
}

}  // namespace
}  // namespace sightline
