#include "workers/query_workers.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "query/local_queries.h"
#include "query/test_lake_source.h"
#include "workers/confinement.h"
#include "workers/query_worker.h"

namespace sightline {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

// A busy machine has little for a question that is expensive.
const QueryLimits kPatience{.time = Millis{300'000}};
constexpr const char* kNoEnd = "SELECT count(*) FROM range(10000000) a, range(10000000) b";

std::string Word(const fs::path& path, size_t index) {
  std::ifstream in(path);
  std::string word;
  for (size_t i = 0; i <= index; ++i) in >> word;
  return word;
}

// The processes that this one has started and that still run.
std::set<pid_t> Children() {
  std::set<pid_t> children;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (Word(entry.path() / "stat", 3) == std::to_string(getpid()) &&
        Word(entry.path() / "stat", 2) != "Z")
      children.insert(std::stoi(name));
  }
  return children;
}

bool Eventually(const std::function<bool()>& holds) {
  const auto end = steady_clock::now() + std::chrono::seconds(20);
  while (steady_clock::now() < end) {
    if (holds()) return true;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return false;
}

struct Answered {
  AnswerEnd end;
  std::string text;
  int begun_again = 0;
  milliseconds took{0};
};

Answered Ask(QueryService& queries, const Question& question,
             const QueryLimits& limits = kPatience) {
  Answered answered;
  const auto start = steady_clock::now();
  answered.end = queries.Answer(question, limits,
                                {.append =
                                     [&](std::string_view bytes) {
                                       answered.text += bytes;
                                       return Status::Ok();
                                     },
                                 .clear =
                                     [&] {
                                       answered.text.clear();
                                       ++answered.begun_again;
                                     }});
  answered.took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
  return answered;
}
Question Sql(std::string sql, Scope scope = Scope::All()) {
  return {.request = SqlRequest{std::move(sql)},
          .scope = std::move(scope),
          .format = ResultFormat::kCsv};
}

// A lake whose one file has to be fetched.
class RemoteSource final : public LakeSource, public FileKeeper {
 public:
  explicit RemoteSource(const std::string& root) : root_(root) {
    state_->counts_files = FileList(fmt::format("{}/{}", root, kCountsFolder),
                                    {{.path = "part-0.parquet", .rows = 1, .bytes = 7}});
  }
  Result<std::shared_ptr<const LakeState>> Current() override {
    return std::shared_ptr<const LakeState>(state_);
  }
  FileKeeper* copies() override { return this; }

  Holding Hold(const std::vector<NeededFile>& files, const HoldLimits& limits) override {
    for (const NeededFile& file : files)
      asked.push_back(fmt::format("{} {}", file.path, file.bytes));
    while (waits) {
      std::this_thread::sleep_for(milliseconds(1));
      if (Status going = limits.go_on(); !going.ok()) return {.status = std::move(going)};
    }
    Holding holding = answer;
    holding.files = held;
    fs::create_directories(fs::path(root_) / kCountsFolder);
    std::ofstream(fs::path(root_) / kCountsFolder / "part-0.parquet") << content;
    return holding;
  }
  void Distrust(const std::string& path) override { distrusted.push_back(path); }
  std::vector<Metric> metrics() const override {
    return {Metric::Gauge("sightline_lake_cache_bytes", "", 7)};
  }

  Holding answer;
  std::shared_ptr<const int> held = std::make_shared<const int>(1);
  std::atomic<bool> waits = false;
  std::string content = "damaged";
  std::vector<std::string> asked, distrusted;

 private:
  const std::string root_;
  const std::shared_ptr<LakeState> state_ = std::make_shared<LakeState>();
};

class QueryWorkersTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "sightline-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    // Little of the processor makes a question an expensive one here, so that the tests see soon
    // which worker computes. The class that it is then in gets little of a busy machine.
    Open({.sql_workers_max = 2, .demote_cpu_ms = 100});
  }
  void TearDown() override {
    workers_.reset();
    EXPECT_TRUE(Eventually([] { return Children().empty(); })) << "a worker is left";
    fs::remove_all(root_);
  }
  void Open(const QueryWorkersOptions& options) {
    workers_ = std::make_unique<QueryWorkers>(lake_, root_, Millis{60'000}, options);
  }
  Answered Ask(const std::string& sql, const QueryLimits& limits = kPatience) {
    return sightline::Ask(*workers_, Sql(sql), limits);
  }
  // Ends the worker that computes an expensive question, as soon as the server has noticed that.
  void EndOneThatComputes(int signal) {
    EXPECT_TRUE(Eventually([&] {
      for (const pid_t pid : Children())
        if (sched_getscheduler(pid) == SCHED_IDLE) return kill(pid, signal) == 0;
      return false;
    }));
  }

  const std::shared_ptr<TestLakeSource> lake_ = std::make_shared<TestLakeSource>();
  std::string root_;
  std::unique_ptr<QueryWorkers> workers_;
};

TEST_F(QueryWorkersTest, AnswersAsTheEngineDoes) {
  const auto engine = TestQueries(lake_);
  const Window range{{kNewYearMs}, {kNewYearMs + 3 * kMinuteMs}};
  const std::vector<Question> questions = {
      Sql("SELECT * FROM item_counts ORDER BY ALL"),
      Sql("SELECT * FROM ledger ORDER BY ALL"),
      Sql("SELECT * FROM locations ORDER BY ALL"),
      Sql("SELECT * FROM item_counts ORDER BY ALL", {std::set<LocationId>{{1}, {3}}}),
      Sql("SELECT * FROM ledger", {std::set<LocationId>{}}),
      Sql("SELECT nothing FROM ledger"),
      Sql("SELECT 1 +"),
      {.request = TopRequest{.range = range, .limit = 1}, .format = ResultFormat::kJson},
      {.request = CountsRequest{.range = range, .step = {60'000}}},
      {.request = ItemsRequest{.location = LocationId{1}, .range = range}},
      {.request = LedgerRequest{.group = LedgerGroup::kLocation}},
      {.request = LocationsRequest{range}, .format = ResultFormat::kTable},
      {.request = TopRequest{.range = {{5}, {4}}}}};
  for (size_t i = 0; i < questions.size(); ++i) {
    const Answered expected = sightline::Ask(*engine, questions[i]);
    const Answered answered = sightline::Ask(*workers_, questions[i]);
    EXPECT_EQ(answered.text, expected.text) << i;
    EXPECT_EQ(answered.end.status.message(), expected.end.status.message()) << i;
    EXPECT_EQ(answered.end.truncated, expected.end.truncated) << i;
    EXPECT_EQ(answered.end.limit, QueryLimit::kNone) << i;
  }
  EXPECT_EQ(Ask("SELECT sum(item_count)::BIGINT AS n FROM item_counts").text, "n\r\n19\r\n");
}

TEST_F(QueryWorkersTest, ParquetIsMadeWithoutADisk) {
  Question question = Sql("SELECT * FROM range(100000)");
  question.format = ResultFormat::kParquet;
  const Answered answered = sightline::Ask(*workers_, question, kPatience);
  EXPECT_TRUE(answered.end.status.ok()) << answered.end.status.message();
  EXPECT_TRUE(answered.text.starts_with("PAR1"));
  EXPECT_TRUE(answered.text.ends_with("PAR1"));
}

TEST_F(QueryWorkersTest, SaysWhatItLacksAndWhenItIsNotReady) {
  lake_->incomplete = {{{"log", 1}, {5}, {9}, "a gap"}};
  EXPECT_EQ(Ask("SELECT * FROM ledger").end.incomplete, lake_->incomplete);
  EXPECT_TRUE(Ask("SELECT * FROM locations").end.incomplete.empty());
  lake_->not_yet = true;
  EXPECT_EQ(Ask("SELECT * FROM ledger").end.status.code(), StatusCode::kRetry);
  EXPECT_EQ(Ask("SELECT 1").end.status.code(), StatusCode::kRetry);
  lake_->not_yet = false;
  EXPECT_TRUE(Ask("SELECT 1").end.status.ok());
}

TEST_F(QueryWorkersTest, TimeEndsAQuestionAndNotItsWorkersEither) {
  const Answered late = Ask(kNoEnd, {.time = Millis{300}});
  EXPECT_EQ(late.end.limit, QueryLimit::kTime);
  EXPECT_THAT(late.end.status.message(), HasSubstr("longer than 300 ms"));
  EXPECT_LT(late.took, milliseconds(1'300));
  EXPECT_TRUE(Ask("SELECT 1").end.status.ok());
}

TEST_F(QueryWorkersTest, AWorkerThatDoesNotStopIsKilled) {
  EXPECT_TRUE(Ask("SELECT 1").end.status.ok());  // so that there is one that has started
  std::thread stop([this] { EndOneThatComputes(SIGSTOP); });
  const Answered late = Ask(kNoEnd, {.time = Millis{5'000}});
  stop.join();
  EXPECT_EQ(late.end.limit, QueryLimit::kTime);
  EXPECT_LT(late.took, milliseconds(6'000));
  EXPECT_TRUE(Ask("SELECT 1").end.status.ok());
}

TEST_F(QueryWorkersTest, AQuestionThatNobodyWaitsForEnds) {
  std::stop_source gone;
  std::thread leave([&] {
    std::this_thread::sleep_for(milliseconds(300));
    gone.request_stop();
  });
  const Answered answered = Ask(kNoEnd, {.abandoned = gone.get_token()});
  leave.join();
  EXPECT_THAT(answered.end.status.message(), HasSubstr("nobody waits"));
  EXPECT_LT(answered.took, milliseconds(1'500));
}

TEST_F(QueryWorkersTest, AQuestionThatEndsItsWorkerIsRefusedForAWhile) {
  std::thread end([this] { EndOneThatComputes(SIGABRT); });
  const Answered crashed = Ask(kNoEnd, kPatience);
  end.join();
  EXPECT_EQ(crashed.end.limit, QueryLimit::kCrash);
  EXPECT_THAT(crashed.end.status.message(), HasSubstr("SIGABRT"));
  const Answered again = Ask(kNoEnd);
  EXPECT_EQ(again.end.limit, QueryLimit::kCrash);
  EXPECT_THAT(again.end.status.message(), HasSubstr("refused for 10 minutes"));
  EXPECT_LT(again.took, milliseconds(100));
  EXPECT_TRUE(Ask("SELECT 1").end.status.ok());
}

TEST_F(QueryWorkersTest, AQuestionWhoseWorkerSomebodyElseEndsIsAskedAgain) {
  std::thread end([this] { EndOneThatComputes(SIGKILL); });
  const Answered answered =
      Ask("SELECT count(*) AS n FROM range(60000) a, range(60000) b", {.time = Millis{300'000}});
  end.join();
  EXPECT_TRUE(answered.end.status.ok()) << answered.end.status.message();
  EXPECT_EQ(answered.text, "n\r\n3600000000\r\n");
  EXPECT_EQ(answered.begun_again, 1);
}

TEST_F(QueryWorkersTest, IdleWorkersMayEnd) {
  for (int i = 0; i < 5; ++i) {
    for (const pid_t pid : Children()) kill(pid, SIGKILL);
    const Answered answered = Ask("SELECT 1 AS a");
    EXPECT_TRUE(answered.end.status.ok()) << answered.end.status.message();
    EXPECT_EQ(answered.text, "a\r\n1\r\n");
  }
}

TEST_F(QueryWorkersTest, MemoryEndsAQuestion) {
  const Answered large = Ask("SELECT len(list(i)) FROM range(200000000) t(i)");
  EXPECT_EQ(large.end.limit, QueryLimit::kMemory);
  EXPECT_THAT(large.end.status.message(), HasSubstr("query.memory_max, which is 256 MiB"));
}

TEST_F(QueryWorkersTest, AFullSinkEndsAQuestion) {
  int pieces = 0;
  const AnswerEnd end = workers_->Answer(
      Sql("SELECT repeat('x', 1000) FROM range(1000000)"), {},
      {.append =
           [&](std::string_view) { return ++pieces < 5 ? Status::Ok() : Status::Retry("full"); },
       .clear = nullptr});
  EXPECT_TRUE(pieces == 5 || pieces == 0) << pieces;
  EXPECT_FALSE(end.status.ok());
  EXPECT_TRUE(Ask("SELECT 1").end.status.ok());
}

TEST_F(QueryWorkersTest, StoppingWaitsForNone) {
  std::thread stop([this] {
    std::this_thread::sleep_for(milliseconds(300));
    workers_->Interrupt();
  });
  const Answered answered = Ask(kNoEnd);
  stop.join();
  EXPECT_EQ(answered.end.status.code(), StatusCode::kRetry);
  EXPECT_LT(answered.took, milliseconds(1'500));
  EXPECT_EQ(Ask("SELECT 1").end.status.code(), StatusCode::kRetry);
}

TEST_F(QueryWorkersTest, AWorkerServesOneScope) {
  const std::string sql = "SELECT sum(item_count)::BIGINT AS n FROM item_counts";
  std::map<int64_t, std::set<pid_t>> served;
  for (int i = 0; i < 6; ++i) {
    for (const auto& [location, sum] : {std::pair{1, "15"}, {2, "3"}, {3, "1"}}) {
      const Answered answered =
          sightline::Ask(*workers_, Sql(sql, {std::set<LocationId>{{location}}}));
      EXPECT_EQ(answered.text, std::string("n\r\n") + sum + "\r\n");
    }
  }
  EXPECT_LE(Children().size(), 2u + kFixedWorkersMax);
}

TEST_F(QueryWorkersTest, AWorkerFollowsTheLakesFolder) {
  EXPECT_TRUE(Ask("SELECT 1").end.status.ok());
  fs::rename(root_, root_ + "-away");
  EXPECT_TRUE(Ask("SELECT 1").end.status.ok()) << "without a folder";
  fs::create_directory(root_);
  EXPECT_TRUE(Ask("SELECT 1").end.status.ok());
  bool inside = false;
  for (const pid_t pid : Children()) {
    std::error_code gone;
    inside |= fs::read_symlink(fs::path("/proc") / std::to_string(pid) / "cwd", gone) == root_;
  }
  EXPECT_TRUE(inside);
  fs::remove_all(root_ + "-away");
}

TEST_F(QueryWorkersTest, AWorkerHasNothingButItsChannel) {
  ASSERT_TRUE(Ask("SELECT 1").end.status.ok());
  std::set<std::string> nice;
  for (const pid_t pid : Children()) {
    const fs::path process = fs::path("/proc") / std::to_string(pid);
    std::set<std::string> files;
    for (const auto& file : fs::directory_iterator(process / "fd"))
      files.insert(file.path().filename());
    EXPECT_THAT(files, testing::ElementsAre("0", "1", "2", "3"));
    nice.insert(Word(process / "stat", 18));
#ifndef SIGHTLINE_SANITIZED
    EXPECT_EQ(fs::read_symlink(process / "fd/2"), "/dev/null");
    EXPECT_EQ(Word(process / "environ", 0), "");
#endif
  }
  const int own = getpriority(PRIO_PROCESS, 0);
  const std::set<std::string> expected = {std::to_string(own), std::to_string(std::max(own, 10))};
  EXPECT_EQ(nice, expected) << "a fixed worker and one for SQL";
}

TEST_F(QueryWorkersTest, AnExpensiveQuestionRunsWhenNobodyElseDoes) {
  std::stop_source gone;
  std::thread expensive([&] { Ask(kNoEnd, {.abandoned = gone.get_token()}); });
  EXPECT_TRUE(Eventually([] {
    for (const pid_t pid : Children())
      if (sched_getscheduler(pid) == SCHED_IDLE) return true;
    return false;
  }));
  gone.request_stop();
  expensive.join();
  EXPECT_TRUE(Ask("SELECT 1").end.status.ok());
  // The worker that was killed may take a while to end.
  EXPECT_TRUE(Eventually([] {
    return std::ranges::none_of(Children(),
                                [](pid_t pid) { return sched_getscheduler(pid) == SCHED_IDLE; });
  }));
}

class RemoteLakeTest : public QueryWorkersTest {
 protected:
  void SetUp() override {
    QueryWorkersTest::SetUp();
    remote_ = std::make_shared<RemoteSource>(root_);
    workers_ = std::make_unique<QueryWorkers>(remote_, root_, Millis{60'000},
                                              QueryWorkersOptions{.sql_workers_max = 2});
  }
  std::shared_ptr<RemoteSource> remote_;
};

TEST_F(RemoteLakeTest, OnlyTheFilesOfTheQuestionAreFetched) {
  EXPECT_TRUE(Ask("SELECT 1").end.status.ok());
  EXPECT_TRUE(Ask("SELECT * FROM ledger").end.status.ok());
  EXPECT_THAT(remote_->asked, testing::IsEmpty());
  (void)Ask("SELECT * FROM item_counts");
  EXPECT_EQ(remote_->asked[0], "item_count_increments/part-0.parquet 7");
}

TEST_F(RemoteLakeTest, WhyFilesAreNotThereIsToldToTheAsker) {
  remote_->answer = {.status = Status::Stop("too much for query.cache_max"), .too_large = true};
  Answered answered = Ask("SELECT * FROM item_counts");
  EXPECT_EQ(answered.end.status.message(), "too much for query.cache_max");
  EXPECT_EQ(answered.end.limit, QueryLimit::kMemory);
  EXPECT_EQ(workers_->trouble(), "") << "nothing is wrong with the lake";
  remote_->answer = {.status = Status::Retry("the NameNode is away"),
                     .failed_path = "item_count_increments/part-0.parquet"};
  answered = Ask("SELECT * FROM item_counts");
  EXPECT_EQ(answered.end.status.code(), StatusCode::kRetry);
  EXPECT_EQ(answered.end.status.message(), "the NameNode is away");
  EXPECT_THAT(workers_->trouble(), HasSubstr("cannot be read: the NameNode is away"));
  const auto metrics = workers_->metrics();
  EXPECT_TRUE(std::ranges::any_of(
      metrics, [](const Metric& one) { return one.name == "sightline_lake_cache_bytes"; }));
}

TEST_F(RemoteLakeTest, ACopyThatCannotBeReadIsFetchedAnew) {
  const Answered answered = Ask("SELECT * FROM item_counts");
  EXPECT_FALSE(answered.end.status.ok());
  EXPECT_THAT(remote_->distrusted, testing::ElementsAre("item_count_increments/part-0.parquet"));
  EXPECT_EQ(remote_->held.use_count(), 1) << "the question still holds its files";
}

TEST_F(RemoteLakeTest, WhoLeavesOrIsLateWaitsForNoFiles) {
  remote_->waits = true;
  std::stop_source gone;
  std::jthread leaves([&] {
    EXPECT_TRUE(Eventually([&] { return !remote_->asked.empty(); }));
    gone.request_stop();
  });
  const Answered left = Ask("SELECT * FROM item_counts", {.abandoned = gone.get_token()});
  EXPECT_EQ(left.end.status.message(), "nobody waits for the answer any more");
  const Answered late = Ask("SELECT * FROM item_counts", {.time = Millis{100}});
  EXPECT_EQ(late.end.limit, QueryLimit::kTime);
}

TEST_F(QueryWorkersTest, WithoutAWorkerOnlyQuestionsFail) {
  for (const char* program : {"/bin/false", "/nowhere/sightline"}) {
    Open({.program = program});
    const Answered answered = Ask("SELECT 1");
    EXPECT_EQ(answered.end.status.code(), StatusCode::kRetry) << program;
    EXPECT_THAT(answered.end.status.message(), HasSubstr("query worker"));
    EXPECT_TRUE(Eventually([&] { return !workers_->trouble().empty(); })) << program;
  }
}

}  // namespace
}  // namespace sightline

// This program is also its own worker.
int main(int argc, char** argv) {
  using namespace sightline;
  if (argc > 1 && std::string_view(argv[1]) == "query-worker")
    return RunQueryWorker([](std::string_view) -> Result<std::shared_ptr<const PendingPart>> {
      return Status::Stop("there are no parts here");
    });
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
