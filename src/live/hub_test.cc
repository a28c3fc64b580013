#include "live/hub.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "live/messages.h"

namespace sightline {
namespace {

namespace json = boost::json;
using Steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int64_t kNowMs = 1'795'348'803'000;
const SourcePartition kPartition{"log", 0};
const auto kPatience = std::chrono::seconds(10);

// A page: applies what it is sent and knows what it shows.
class Page {
 public:
  Page(Hub& hub, View view, std::string last_event_id = "") : view_(std::move(view)) {
    auto viewer = hub.Subscribe(view_, last_event_id, [this] {
      const std::lock_guard lock(mutex_);
      ++wakes_;
      EXPECT_LE(wakes_, takes_ + 1);
      condition_.notify_one();
    });
    EXPECT_TRUE(viewer.ok()) << viewer.status().message();
    viewer_ = std::move(viewer).value();
  }

  // The page again after its connection was lost: goes on from what it shows.
  Page(Hub& hub, const Page& before) : Page(hub, before.view_, before.LastId()) {
    top_ = before.top_;
    ledger_ = before.ledger_;
    locations_ = before.locations_;
    seq_ = before.seq_;
  }

  // Waits for a wake, then takes everything.
  void TakeNext() {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(condition_.wait_for(lock, kPatience, [this] { return wakes_ > wakes_seen_; }));
    lock.unlock();
    Take();
  }
  void Take() {
    {
      const std::lock_guard lock(mutex_);
      wakes_seen_ = wakes_;
      ++takes_;
    }
    for (const SseMessage& message : viewer_->Take()) {
      messages_.push_back(*message);
      ASSERT_NO_FATAL_FAILURE(Show(*message));
    }
  }
  void Close() { viewer_.reset(); }
  // Takes until the page shows what `shows` wants.
  void Until(const std::function<bool()>& shows) {
    const auto deadline = Steady::now() + kPatience;
    while (!shows()) {
      ASSERT_LT(Steady::now(), deadline) << "the page does not get there";
      ASSERT_NO_FATAL_FAILURE(TakeNext());
    }
  }
  void UntilTotal(int64_t total) {
    Until([this, total] { return !top_.is_null() && Total() == total; });
  }

  int64_t Total() const { return top_.at("total").as_int64(); }
  std::string Items() const {
    std::string items;
    for (const json::value& row : top_.at("rows").as_array())
      items += std::string(row.at("item").as_string()) + " ";
    return items;
  }
  // Of the last message; empty before the first.
  std::string LastId() const {
    if (messages_.empty()) return "";
    const std::string& last = messages_.back();
    return last.substr(4, last.find('\n') - 4);
  }
  int Count(std::string_view kind) const {
    return static_cast<int>(std::count(kinds_.begin(), kinds_.end(), kind));
  }

  // What is shown must be what Live says.
  void ExpectShows(const Live& live) const {
    const Top top = live.TopItems(view_.scope, view_.location, view_.window, view_.limit);
    json::value expected = json::parse(ToJson(top));
    EXPECT_EQ(top_.at("rows"), expected.at("rows"));
    EXPECT_EQ(top_.at("total"), expected.at("total"));
    EXPECT_EQ(top_.at("end"), expected.at("end"));
    std::map<std::string, json::value> locations;
    const std::vector<LocationTotal> totals = live.Locations(view_.scope, view_.window);
    const json::value all = json::parse(ToJson(std::span(totals)));
    for (const json::value& location : all.as_array())
      locations[std::string(location.at("oid").as_string())] = location;
    EXPECT_EQ(locations_, locations);
    EXPECT_EQ(ledger_, json::parse(ToJson(live.LedgerTotal(view_.scope))));
  }

  const View view_;
  std::vector<std::string> messages_;
  std::vector<std::string> kinds_;
  json::value top_, ledger_;
  json::value last_;  // snapshot or change
  json::value heartbeat_;
  std::map<std::string, json::value> locations_;
  std::optional<int64_t> seq_;

 private:
  void Show(const std::string& message) {
    const size_t kind_at = message.find("\nevent: ") + 8, data_at = message.find("\ndata: ") + 7;
    const std::string kind = message.substr(kind_at, message.find('\n', kind_at) - kind_at);
    ASSERT_TRUE(message.ends_with("\n\n"));
    const json::value data = json::parse(message.substr(data_at, message.size() - data_at - 2));
    const int64_t seq = data.at("seq").as_int64();
    EXPECT_EQ(message.substr(4, message.find('\n') - 4),
              std::string(data.at("boot").as_string()) + "-" + std::to_string(seq));
    if (kind == "change") {
      ASSERT_TRUE(seq_.has_value());
      EXPECT_EQ(seq, *seq_ + 1);
      ExpectMoves(data);
    }
    if (kind == "heartbeat") {
      EXPECT_EQ(seq, seq_);
      EXPECT_EQ(data.at("top").at("rows"), top_.at("rows"));
    }
    if (kind == "snapshot") locations_.clear();
    if (kind != "heartbeat") {
      for (const json::value& location : data.at("locations").as_array())
        locations_[std::string(location.at("oid").as_string())] = location;
    }
    kinds_.push_back(kind);
    seq_ = seq;
    top_ = data.at("top");
    ledger_ = data.at("ledger");
    (kind == "heartbeat" ? heartbeat_ : last_) = data;
  }
  // Moves lead from the rows before to those of now.
  void ExpectMoves(const json::value& data) {
    std::map<std::string, int64_t> rows, expected;
    for (const json::value& row : top_.at("rows").as_array())
      rows[std::string(row.at("item").as_string())] = row.at("position").as_int64();
    for (const json::value& move : data.at("moves").as_array()) {
      const std::string item(move.at("item").as_string());
      if (move.at("move").as_string() == "entered") {
        EXPECT_FALSE(rows.contains(item));
      } else {
        EXPECT_EQ(rows.at(item), move.at("from").as_int64());
      }
      if (move.at("move").as_string() == "left") {
        rows.erase(item);
      } else {
        rows[item] = move.at("to").as_int64();
      }
    }
    for (const json::value& row : data.at("top").at("rows").as_array())
      expected[std::string(row.at("item").as_string())] = row.at("position").as_int64();
    EXPECT_EQ(rows, expected);
  }

  std::mutex mutex_;
  std::condition_variable condition_;
  int wakes_ = 0;
  int wakes_seen_ = 0;  // before the last Take()
  int takes_ = 0;
  std::unique_ptr<Hub::Viewer> viewer_;  // last: gone before what wake uses
};

class HubTest : public testing::Test {
 protected:
  HubTest() { options_.boot = "test"; }
  Hub& hub() {
    if (hub_ == nullptr) hub_ = std::make_unique<Hub>(&live_, &clock_, options_);
    return *hub_;
  }
  void See(int64_t location, const std::string& item, int64_t count = 1) {
    Segment segment{.first = {offset_}, .next = {offset_ + 1}, .watermark = {kNowMs - 10'000}};
    ++offset_;
    segment.counts = {{.key = {.pane_start = WindowStart({clock_.NowMs()}, {10'000}),
                               .location = {location},
                               .item = item},
                       .count = count}};
    segment.ledger = {
        {.key = {.location = {location}}, .ledger = {.received = count, .outcomes = {count}}}};
    ASSERT_TRUE(live_.Apply(kPartition, std::span(&segment, 1)));
  }
  View Of(int64_t location) { return {.location = LocationId{location}}; }

  ManualClock clock_{kNowMs};
  Live live_{LiveOptions{}, &clock_};
  HubOptions options_{.heartbeat = {600'000}};
  std::unique_ptr<Hub> hub_;
  int64_t offset_ = 0;
};

TEST_F(HubTest, SnapshotThenChanges) {
  live_.SetLocations(
      {{.location = {7001}, .name = "Gate 4"}, {.location = {7002}, .name = "Gate 1"}});
  See(7001, "bus", 140);
  Page page(hub(), Of(7001));
  page.UntilTotal(140);
  EXPECT_EQ(page.kinds_, std::vector<std::string>{"snapshot"});
  EXPECT_EQ(page.last_.at("view"), json::parse(R"({"location":"7001","window":"5m","limit":10})"));
  EXPECT_EQ(page.last_.at("pane"), 10'000);
  EXPECT_EQ(page.last_.at("now"), kNowMs);
  EXPECT_EQ(page.last_.at("changed_at"), kNowMs);
  EXPECT_EQ(page.last_.at_pointer("/locations/0/name"), "Gate 1");
  clock_.Advance(5);
  See(7001, "car", 150);
  page.UntilTotal(290);
  EXPECT_EQ(page.kinds_.back(), "change");
  EXPECT_EQ(page.last_.at("changed_at"), kNowMs + 5);
  EXPECT_EQ(page.Items(), "car bus ");
  EXPECT_EQ(page.last_.at("moves"),
            json::parse(R"([{"item":"car","move":"entered","to":1},)"
                        R"({"item":"bus","move":"moved","from":1,"to":2}])"));
  EXPECT_EQ(page.last_.at("locations").as_array().size(), 1u);
  See(7002, "bus", 1);  // another location: its total and the ledger are news here, too
  page.Until([&] { return page.locations_.at("7002").at("total") == 1; });
  EXPECT_EQ(page.Total(), 290);
  EXPECT_TRUE(page.last_.at("moves").as_array().empty());
  page.ExpectShows(live_);
}

TEST_F(HubTest, OneComputationForAllViewersOfAView) {
  std::vector<std::unique_ptr<Page>> pages;
  for (int i = 0; i < 10; ++i) pages.push_back(std::make_unique<Page>(hub(), Of(1)));
  for (const auto& page : pages) page->UntilTotal(0);
  const int64_t before = hub().computations();
  See(1, "bus");
  for (const auto& page : pages) page->UntilTotal(1);
  EXPECT_LE(hub().computations() - before, 2);
  EXPECT_EQ(hub().views(), 1);
  EXPECT_EQ(hub().viewers(), 10);
  for (const auto& page : pages) EXPECT_EQ(page->messages_.back(), pages[0]->messages_.back());
  EXPECT_GT(hub().kept_bytes(), 0);
  pages.clear();
  EXPECT_EQ(hub().viewers(), 0);
  EXPECT_EQ(hub().views(), 1);  // kept for resuming
  const int64_t idle = hub().computations();
  for (int i = 0; i < 5; ++i) {
    See(1, "bus");
    std::this_thread::sleep_for(milliseconds(5));
  }
  EXPECT_LE(hub().computations(), idle + 1);  // at most the one that was under way
}

TEST_F(HubTest, ChangesAreCoalesced) {
  Page page(hub(), Of(1));
  page.UntilTotal(0);
  const auto started = Steady::now();
  for (int i = 1; i <= 2'000; ++i) See(1, "item" + std::to_string(i % 5));
  page.UntilTotal(2'000);
  const auto took = std::chrono::duration_cast<milliseconds>(Steady::now() - started);
  EXPECT_LE(page.Count("change"), took.count() / 2 + 2);
  page.ExpectShows(live_);
}

TEST_F(HubTest, HeartbeatsHaveTheIdBeforeThem) {
  options_.heartbeat = {10};
  See(1, "bus");
  Page page(hub(), Of(1));
  page.Until([&] { return page.Count("heartbeat") >= 3; });
  EXPECT_EQ(page.Count("snapshot"), 1);
  EXPECT_EQ(page.Count("change"), 0);
  EXPECT_TRUE(page.heartbeat_.as_object().contains("complete_until"));
  EXPECT_FALSE(page.heartbeat_.as_object().contains("locations"));
  page.ExpectShows(live_);
}

TEST_F(HubTest, WindowMovesWithTheClockAsAChange) {
  options_.heartbeat = {10};  // also when the hub looks at a clock that was set by hand
  See(1, "bus");
  Page page(hub(), View{.window = {.length = {60'000}}});
  page.UntilTotal(1);
  clock_.Advance(10'000);
  page.Until([&] { return page.top_.at("end") == kNowMs + 17'000; });
  EXPECT_EQ(page.Total(), 1);
  EXPECT_EQ(page.last_.at("changed_at"), kNowMs);  // no data came
  clock_.Advance(50'000);
  page.UntilTotal(0);
  EXPECT_EQ(page.Count("snapshot"), 1);
  page.ExpectShows(live_);
}

TEST_F(HubTest, ResumesByLastEventId) {
  Page before(hub(), Of(1));
  before.UntilTotal(0);
  See(1, "bus");
  before.UntilTotal(1);
  const std::string id = before.LastId();
  before.Close();
  See(1, "car", 2);  // while nobody looks
  Page page(hub(), before);
  page.UntilTotal(3);
  EXPECT_EQ(page.kinds_, std::vector<std::string>{"change"});
  // A viewer cannot resume from the id of another view, or of an earlier one.
  Page other(hub(), Of(2), id);
  other.UntilTotal(0);
  EXPECT_EQ(other.kinds_, std::vector<std::string>{"snapshot"});
}

TEST_F(HubTest, HostileLastEventIdsGetASnapshot) {
  See(1, "bus");
  for (const std::string& id :
       {std::string("test-0"), std::string("test-2"), std::string("test--1"), std::string("nope-1"),
        std::string("test-9223372036854775807"), std::string("test-99999999999999999999999999"),
        std::string("\0\n\r", 3), std::string(1 << 20, '-'), std::string("'; drop table")}) {
    Page page(hub(), Of(1), id);
    page.UntilTotal(1);
    EXPECT_EQ(page.kinds_, std::vector<std::string>{"snapshot"});
  }
}

TEST_F(HubTest, SlowViewerGetsOneSnapshotOfTheLatestState) {
  options_.changes_kept = 4;
  options_.min_interval = {0};
  Page slow(hub(), Of(1));
  Page fast(hub(), Of(1));
  slow.UntilTotal(0);
  fast.UntilTotal(0);
  for (int i = 1; i <= 20; ++i) {
    See(1, "bus");
    fast.UntilTotal(i);
  }
  slow.UntilTotal(20);
  EXPECT_EQ(slow.kinds_, (std::vector<std::string>{"snapshot", "snapshot"}));
  See(1, "bus");
  slow.UntilTotal(21);
  EXPECT_EQ(slow.kinds_.back(), "change");
}

TEST_F(HubTest, TooManyViewsAreRefusedUnlessOneIsUnused) {
  options_.views_max = 2;
  Page a(hub(), Of(1));
  auto b = std::make_unique<Page>(hub(), Of(2));
  EXPECT_EQ(hub().Subscribe(Of(3), "", [] {}).status().code(), StatusCode::kStop);
  Page again(hub(), Of(1));  // a view that is there
  b->UntilTotal(0);
  b.reset();
  Page c(hub(), Of(3));
  c.UntilTotal(0);
  EXPECT_EQ(hub().views(), 2);
}

TEST_F(HubTest, UnusedViewsAreDroppedAfterAWhile) {
  options_.heartbeat = {5};
  options_.kept_without_viewers = {30};
  { Page page(hub(), Of(1)); }
  EXPECT_EQ(hub().views(), 1);
  const auto deadline = Steady::now() + kPatience;
  while (hub().views() > 0 && Steady::now() < deadline)
    std::this_thread::sleep_for(milliseconds(5));
  EXPECT_EQ(hub().views(), 0);
  Page page(hub(), Of(1));
  page.UntilTotal(0);
}

TEST_F(HubTest, LoadAndGoneLocationsAreSnapshots) {
  live_.SetLocations({{.location = {1}, .name = "One"}, {.location = {2}, .name = "Two"}});
  Page page(hub(), View{});
  page.UntilTotal(0);
  Segment recovered{.first = {0}, .next = {50}};
  recovered.counts = {
      {.key = {.pane_start = {kNowMs - 13'000}, .location = {1}, .item = "bus"}, .count = 30}};
  live_.Load(kPartition, std::span(&recovered, 1), {50}, {.received = 30, .outcomes = {30}});
  page.UntilTotal(30);
  page.Until([&] { return page.ledger_.at("counted") == 30; });
  EXPECT_EQ(page.Count("snapshot"), 2);
  live_.SetLocations({{.location = {1}, .name = "One"}});
  page.Until([&] { return page.locations_.size() == 1; });
  EXPECT_EQ(page.Count("snapshot"), 3);
  offset_ = 50;
  See(1, "bus");
  page.UntilTotal(31);
  EXPECT_EQ(page.kinds_.back(), "change");
  page.ExpectShows(live_);
}

TEST_F(HubTest, ScopesSeeOnlyTheirOwn) {
  See(1, "bus", 1);
  See(2, "car", 2);
  const View view{.scope = {{{LocationId{1}}}}};
  Page page(hub(), view);
  Page all(hub(), View{});
  page.UntilTotal(1);
  all.UntilTotal(3);
  EXPECT_EQ(page.locations_.size(), 1u);
  EXPECT_EQ(page.ledger_.at("counted"), 1);
  See(2, "secret", 5);
  See(1, "bus", 5);
  page.UntilTotal(6);
  page.ExpectShows(live_);
  for (const std::string& message : page.messages_)
    EXPECT_EQ(message.find("secret"), std::string::npos);
}

TEST_F(HubTest, MoreWindowsThanAreFollowedAreStillRight) {
  std::vector<std::unique_ptr<Page>> pages;
  for (int i = 1; i <= 20; ++i)
    pages.push_back(std::make_unique<Page>(hub(), View{.window = {.length = {i * 10'000}}}));
  for (int i = 1; i <= 5; ++i) See(i, "bus");
  for (const auto& page : pages) {
    page->UntilTotal(5);
    page->Until([&] { return page->ledger_.at("counted") == 5; });
    page->ExpectShows(live_);
  }
}

TEST_F(HubTest, BootIsRandomUnlessGiven) {
  const Hub a(&live_, &clock_, {}), b(&live_, &clock_, {});
  EXPECT_NE(a.boot(), b.boot());
  EXPECT_EQ(a.boot().size(), 8u);
}

// Everybody at once: counting, a moving clock, viewers that come, go, resume and dawdle. In the end
// every page shows what Live says.
TEST_F(HubTest, ConcurrentViewersEndUpRight) {
  options_.changes_kept = 8;
  options_.heartbeat = {7};
  hub();
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  for (int n = 0; n < 3; ++n) {
    threads.emplace_back([this, n, &done] {
      std::mt19937 random(static_cast<uint32_t>(n));
      std::vector<View> views = {Of(1), Of(2), View{}, View{.scope = {{{LocationId{2}}}}},
                                 View{.window = {.today = true}, .limit = 2}};
      std::unique_ptr<Page> page;
      while (!done.load()) {
        const bool resumes = page != nullptr && random() % 2 == 0;
        if (page != nullptr) page->Close();
        page = resumes ? std::make_unique<Page>(*hub_, *page)
                       : std::make_unique<Page>(*hub_, views[random() % views.size()]);
        const int takes = static_cast<int>(random() % 6);
        for (int i = 0; i < takes && !done.load(); ++i) {
          if (random() % 3 == 0) std::this_thread::sleep_for(milliseconds(random() % 20));
          page->TakeNext();
        }
      }
    });
  }
  Page watching(*hub_, View{.limit = 3});
  std::mt19937 random(99);
  for (int i = 0; i < 400; ++i) {
    See(random() % 5, "item" + std::to_string(random() % 8), random() % 3 + 1);
    if (i % 20 == 0) clock_.Advance(random() % 12'000);
    if (i % 10 == 0) watching.Take();
    if (i % 50 == 0) std::this_thread::sleep_for(milliseconds(3));
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  const Top top = live_.TopItems(Scope::All(), std::nullopt, {}, 3);
  const int64_t counted = live_.LedgerTotal(Scope::All()).of(Outcome::kCounted);
  watching.Until([&] {
    return watching.seq_ && watching.Total() == top.total &&
           watching.top_.at("end") == top.window.end.v && watching.ledger_.at("counted") == counted;
  });
  watching.ExpectShows(live_);
}

}  // namespace
}  // namespace sightline
