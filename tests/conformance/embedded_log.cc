// The harnesses of the embedded log, for its two ports.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "connectors/embedded_log/dead_letter_record.h"
#include "connectors/embedded_log/log.h"
#include "connectors/embedded_log/testing.h"
#include "harness.h"

namespace sightline::conformance {
namespace {

using embedded_log_testing::AppendAndWait;
using embedded_log_testing::ReadAll;
using embedded_log_testing::TemporaryDirectory;

constexpr char kLogTopic[] = "raw_camera_events";

// A log that can be closed and opened again.
class Home {
 public:
  explicit Home(EmbeddedLogOptions options) : options_(std::move(options)) {
    options_.dir = directory_.path();
    options_.partitions = 2;
    options_.clock = &time_;
    Reopen();
  }
  void Reopen() {
    log_ = nullptr;
    Result<std::unique_ptr<EmbeddedLog>> opened = EmbeddedLog::Open(options_);
    CHECK(opened.ok());
    log_ = std::move(opened).value();
  }
  EmbeddedLog& log() { return *log_; }
  ManualClock& clock() { return clock_; }
  EmbeddedLogOptions& options() { return options_; }

 private:
  TemporaryDirectory directory_;
  ManualClock clock_{1000};
  LogClock time_{clock_};
  EmbeddedLogOptions options_;
  std::unique_ptr<EmbeddedLog> log_;
};

class EmbeddedSourceHarness final : public SourceHarness {
 public:
  explicit EmbeddedSourceHarness(EmbeddedLogOptions options) : home_(std::move(options)) {}
  std::unique_ptr<Source> Open(int32_t partition) override {
    return home_.log().OpenSource(kLogTopic, partition);
  }
  void Append(int32_t partition, const std::vector<std::string>& payloads) override {
    CHECK(AppendAndWait(home_.log(), kLogTopic, partition, payloads).ok());
  }
  void SetClock(int64_t now_ms) override { home_.clock().Set(now_ms); }
  void Retain(AppendTime time) override {
    const int64_t now_ms = home_.clock().NowMs();
    home_.clock().Set(time.v + home_.options().retention_age.v);
    // Ages are counted from the newest record.
    CHECK(AppendAndWait(home_.log(), "another", 0, {"newest"}).ok());
    CHECK(home_.log().EnforceRetention().ok());
    home_.clock().Set(now_ms);
  }
  void Reopen() override { home_.Reopen(); }

 private:
  Home home_;
};

class EmbeddedSinkHarness final : public SinkHarness {
 public:
  std::unique_ptr<Sink> Open() override {
    return home_.log().OpenCountsSink({.group_rows_max = 10});
  }
  Stored Read(const SourcePartition& partition) override {
    Stored stored;
    CHECK(home_.log()
              .ForEachGroup(partition, kBeforeAllTime,
                            [&stored](Segment&& group) {
                              MergeCounts(stored.counts, std::move(group.counts));
                              MergeLedger(stored.ledger, std::move(group.ledger));
                            })
              .ok());
    for (const std::string_view topic : {kDeadLettersTopic, kLateDetectionsTopic}) {
      const auto source = home_.log().OpenSource(topic, partition.partition);
      const auto records = ReadAll(*source, {0});
      CHECK(records.ok());
      for (const auto& record : records.value()) {
        DeadLetterRecord letter = DecodeDeadLetter(record.payload).value();
        if (letter.from == partition) stored.dead_letters.push_back(std::move(letter.event));
      }
    }
    std::sort(stored.dead_letters.begin(), stored.dead_letters.end(),
              [](const DeadLetter& a, const DeadLetter& b) { return a.offset < b.offset; });
    return stored;
  }
  void Reopen() override { home_.Reopen(); }

 private:
  Home home_{{}};
};

}  // namespace

std::unique_ptr<SourceHarness> MakeEmbeddedSource() {
  return std::make_unique<EmbeddedSourceHarness>(EmbeddedLogOptions{});
}
std::unique_ptr<SourceHarness> MakeEmbeddedSourceWithoutTail() {
  return std::make_unique<EmbeddedSourceHarness>(EmbeddedLogOptions{.tail_bytes_max = 0});
}
std::unique_ptr<SinkHarness> MakeEmbeddedSink() { return std::make_unique<EmbeddedSinkHarness>(); }

}  // namespace sightline::conformance
