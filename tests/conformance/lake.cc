// The lake's two sinks behind the harness. Windows are as long as panes, so that what is read back
// can be compared with what was given; files are read by the room's own reader.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "connectors/embedded_log/testing.h"
#include "connectors/lake/lake_writer.h"
#include "connectors/lake/table_rows.h"
#include "connectors/storage/local_storage.h"
#include "harness.h"

namespace sightline::conformance {
namespace {

using embedded_log_testing::TemporaryDirectory;

class LakeSinkHarness final : public SinkHarness {
 public:
  explicit LakeSinkHarness(std::string_view table) : table_(table) { Reopen(); }
  std::unique_ptr<Sink> Open() override { return writer_->OpenSink(nullptr); }
  Stored Read(const SourcePartition& partition) override {
    Stored stored;
    const auto snapshot = lake::ReadSnapshot(storage_, table_);
    CHECK(snapshot.ok());
    const Status read =
        lake::ForEachWriteBatch(storage_, table_, *snapshot.value(), [&](lake::WriteBatch&& batch) {
          if (batch.partition != partition) return;
          std::sort(batch.windows.begin(), batch.windows.end(),
                    [](const CountRow& a, const CountRow& b) { return a.key < b.key; });
          MergeCounts(stored.counts, std::move(batch.windows));
          MergeLedger(stored.ledger, std::move(batch.ledger));
        });
    CHECK(read.ok());
    return stored;
  }
  void Reopen() override {
    writer_ = nullptr;
    auto opened = lake::LakeWriter::Open(
        storage_, clock_,
        {.table = table_, .linger = {0}, .window_size = {10'000}, .checkpoint_commits = 7});
    CHECK(opened.ok());
    writer_ = std::move(opened).value();
  }
  Stored Kept(Stored all) const override {
    all.dead_letters.clear();
    table_ == lake::kLedgerTable ? all.counts.clear() : all.ledger.clear();
    return all;
  }

 private:
  TemporaryDirectory directory_;
  SystemClock clock_;
  LocalStorage storage_{directory_.path()};
  const std::string table_;
  std::unique_ptr<lake::LakeWriter> writer_;
};

}  // namespace

std::unique_ptr<SinkHarness> MakeLakeIncrementsSink() {
  return std::make_unique<LakeSinkHarness>(lake::kIncrementsTable);
}
std::unique_ptr<SinkHarness> MakeLakeLedgerSink() {
  return std::make_unique<LakeSinkHarness>(lake::kLedgerTable);
}

}  // namespace sightline::conformance
