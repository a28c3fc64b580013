#include "workers/shared_rows.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "query/local_queries.h"

namespace sightline {
namespace {

CountIncrement Count(int64_t location, std::string item) {
  return {.location = {location},
          .item = std::move(item),
          .window = {{-60'000}, {0}},
          .count = -3,
          .first_detected = {-59'999},
          .last_detected = {-1},
          .kind = CountKind::kCorrection,
          .source = {"log", 7},
          .first = {5},
          .next = {6}};
}

LakeState State() {
  LakeState state;
  state.pending_counts = std::make_shared<const std::vector<CountIncrement>>(
      std::vector<CountIncrement>{Count(1, "bus"), Count(2, ""), Count(1, std::string(300, 'x'))});
  LedgerIncrement known{.source = {"log", 1}, .first = {1}, .next = {2}};
  known.row.key = {.location = {2}, .camera = {3}, .hour = {3'600'000}};
  known.row.ledger.received = 5;
  known.row.ledger.outcomes[1] = 5;
  LedgerIncrement unknown = known;
  unknown.row.key.known = false;
  state.pending_ledger = std::make_shared<const std::vector<LedgerIncrement>>(
      std::vector<LedgerIncrement>{known, unknown});
  state.locations = std::make_shared<const std::vector<Location>>(
      std::vector<Location>{{.location = {1},
                             .name = "Gate",
                             .latitude = -0.5,
                             .longitude = 179.25,
                             .time_zone = "Europe/Berlin",
                             .parent = LocationId{9}},
                            {.location = {2}, .name = ""}});
  return state;
}

// A lake that is always in the same state.
class OneState final : public LakeSource {
 public:
  explicit OneState(LakeState state) : state_(std::make_shared<LakeState>(std::move(state))) {}
  Result<std::shared_ptr<const LakeState>> Current() override { return state_; }

 private:
  const std::shared_ptr<const LakeState> state_;
};

// All rows of the view as the engine shows them to `scope`.
std::string Shown(const LakeState& state, const std::string& view, const Scope& scope) {
  const auto queries = LocalQueries::Create(std::make_shared<OneState>(state),
                                            {.directories = {"/nowhere"}, .threads = 1});
  EXPECT_TRUE(queries.ok());
  std::string rows;
  const AnswerEnd end = queries.value()->Answer({.request = SqlRequest{"SELECT * FROM " + view},
                                                 .scope = scope,
                                                 .format = ResultFormat::kNdjson},
                                                {},
                                                {.append =
                                                     [&](std::string_view bytes) {
                                                       rows += bytes;
                                                       return Status::Ok();
                                                     },
                                                 .clear = nullptr});
  EXPECT_TRUE(end.status.ok()) << end.status.message();
  return rows;
}

// What a worker makes of the files.
LakeState Received(SharedRows& rows, const LakeState& state, const Scope& scope) {
  LakeState received;
  received.pending_parts.push_back(SharedCounts(rows.Counts(state, scope).value()));
  received.pending_parts.push_back(SharedLedger(rows.Ledger(state, scope).value()));
  received.locations = std::make_shared<const std::vector<Location>>(
      ReadLocations(*rows.Locations(state, scope).value()).value());
  return received;
}

TEST(SharedRows, AWorkerSeesWhatTheScopeSees) {
  const LakeState state = State();
  for (const Scope& scope : {Scope::All(), Scope{std::set<LocationId>{{1}}},
                             Scope{std::set<LocationId>{{2}}}, Scope{std::set<LocationId>{}}}) {
    SharedRows rows;
    const LakeState received = Received(rows, state, scope);
    // The worker is asked without a scope here: what it may not see must not be in the files.
    for (const char* view : {"item_count_increments", "ledger", "locations"})
      EXPECT_EQ(Shown(received, view, Scope::All()), Shown(state, view, scope)) << view;
  }
  EXPECT_EQ(std::ranges::count(Shown(state, "item_count_increments", Scope::All()), '\n'), 3);
  EXPECT_EQ(std::ranges::count(Shown(state, "ledger", Scope::All()), '\n'), 2);
}

TEST(SharedRows, AFileServesUntilTheRowsChange) {
  SharedRows rows;
  LakeState state = State();
  const SharedFile first = rows.Counts(state, Scope::All()).value();
  EXPECT_EQ(rows.Counts(state, Scope::All()).value(), first);
  EXPECT_NE(rows.Counts(state, {std::set<LocationId>{{1}}}).value(), first);
  EXPECT_EQ(rows.Counts(state, Scope::All()).value(), first);
  state.pending_counts = std::make_shared<const std::vector<CountIncrement>>(*state.pending_counts);
  EXPECT_NE(rows.Counts(state, Scope::All()).value(), first);
  state.pending_counts = nullptr;
  EXPECT_TRUE(SharedCounts(rows.Counts(state, Scope::All()).value())->Counts().value().empty());
}

TEST(SharedRows, NobodyCanChangeThem) {
  SharedRows rows;
  const SharedFile file = rows.Counts(State(), Scope::All()).value();
  EXPECT_EQ(pwrite(file->fd(), "x", 1, 0), -1);
  EXPECT_EQ(ftruncate(file->fd(), 0), -1);
  EXPECT_EQ(fcntl(file->fd(), F_GET_SEALS),
            F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
}

}  // namespace
}  // namespace sightline
