#include "query/lake_rows.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "query/test_lake.h"

namespace sightline {
namespace {

// Says how many are read at a time.
class TestPart final : public PendingPart {
 public:
  TestPart(std::vector<CountIncrement> counts, int* reads)
      : counts_(std::move(counts)), reads_(reads) {}
  Result<std::vector<CountIncrement>> Counts() const override {
    ++*reads_;
    if (counts_.empty()) return Status::Stop("it is damaged");
    return counts_;
  }
  Result<std::vector<LedgerIncrement>> Ledger() const override {
    return std::vector<LedgerIncrement>(2, {.source = {"log", 1}});
  }
  std::string Reference() const override { return {}; }

 private:
  const std::vector<CountIncrement> counts_;
  int* const reads_;
};

std::vector<std::string> Items(RowCursor& cursor) {
  std::vector<std::string> items;
  for (;;) {
    const Result<bool> more = cursor.Next();
    if (!more.ok()) {
      items.push_back(more.status().message());
      return items;
    }
    if (!more.value()) return items;
    items.emplace_back(std::get<std::string_view>(cursor.Cell(3)));
  }
}

TEST(LakeRowsTest, PartsFollowWhatIsInMemoryOneAtATime) {
  int reads = 0;
  LakeState state;
  state.pending_counts = std::make_shared<const std::vector<CountIncrement>>(
      std::vector{Increment(1, "a", 0, 1), Increment(2, "b", 0, 1)});
  for (const char* item : {"c", "d"})
    state.pending_parts.push_back(std::make_shared<TestPart>(
        std::vector{Increment(1, item, 0, 1), Increment(2, item, 0, 1)}, &reads));
  const auto cursor = PendingCounts(state, Scope::All()).open();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(cursor->Next().value());
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(Items(*cursor), (std::vector<std::string>{"d", "d"}));
  EXPECT_FALSE(cursor->Next().value());
  EXPECT_EQ(reads, 2);
  // Another pass reads them again; the scope holds for them, too.
  const Scope scope{.locations = std::set<LocationId>{{2}}};
  EXPECT_EQ(Items(*PendingCounts(state, scope).open()), (std::vector<std::string>{"b", "c", "d"}));
  EXPECT_EQ(reads, 4);
  const auto ledger = PendingLedger(state, Scope::All()).open();
  int rows = 0;
  while (ledger->Next().value()) ++rows;
  EXPECT_EQ(rows, 4);
}

TEST(LakeRowsTest, APartThatCannotBeReadFailsTheScan) {
  int reads = 0;
  LakeState state;
  state.pending_parts.push_back(std::make_shared<TestPart>(std::vector<CountIncrement>(), &reads));
  EXPECT_EQ(Items(*PendingCounts(state, Scope::All()).open()),
            (std::vector<std::string>{"it is damaged"}));
}

}  // namespace
}  // namespace sightline
