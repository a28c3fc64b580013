#include <utility>

#include "processes/raw_log.h"

namespace sightline {
namespace {

// Writes the server's posts to the raw topic of the log.
class EmbeddedDetections final : public DetectionLog {
 public:
  explicit EmbeddedDetections(EmbeddedLog* log) : log_(log) {}
  int32_t partitions() const override { return log_->partitions(); }
  bool Append(std::vector<PackedRecords> records, std::function<void(Status)> done) override {
    return log_->Append(kRawTopic, std::move(records), std::move(done));
  }

 private:
  EmbeddedLog* const log_;
};

// A source that wakes its task, as long as it lives, when records are appended to its partition.
class WatchedSource final : public Source {
 public:
  WatchedSource(std::unique_ptr<Source> source, std::unique_ptr<AppendWatch> watch)
      : source_(std::move(source)), watch_(std::move(watch)) {}
  Result<Offset> Earliest() override { return source_->Earliest(); }
  Status Seek(Offset next) override { return source_->Seek(next); }
  Result<Batch> Poll(int64_t records_max) override { return source_->Poll(records_max); }

 private:
  const std::unique_ptr<Source> source_;
  const std::unique_ptr<AppendWatch> watch_;
};

class EmbeddedRawLog final : public RawLog {
 public:
  explicit EmbeddedRawLog(EmbeddedLog* log) : log_(log), detections_(log) {}
  DetectionLog& detections() { return detections_; }
  std::vector<SourcePartition> Partitions() const override {
    std::vector<SourcePartition> partitions;
    for (int32_t p = 0; p < log_->partitions(); ++p)
      partitions.push_back({log_->SourceName(kRawTopic), p});
    return partitions;
  }
  LogEnd EndOf(const SourcePartition& partition) const override {
    return log_->EndOf(kRawTopic, partition.partition);
  }
  std::unique_ptr<Source> OpenSource(const SourcePartition& partition,
                                     std::function<void()> wake) override {
    std::unique_ptr<AppendWatch> watch = log_->OnAppend(
        kRawTopic, [ours = partition.partition, wake = std::move(wake)](int32_t appended) {
          if (appended == ours) wake();
        });
    return std::make_unique<WatchedSource>(log_->OpenSource(kRawTopic, partition.partition),
                                           std::move(watch));
  }
  // The process reports on the embedded log itself, because that exists in any case.
  RawLogReport Report() const override { return {}; }

 private:
  EmbeddedLog* const log_;
  EmbeddedDetections detections_;
};

}  // namespace

OpenedRawLog OpenEmbeddedRawLog(EmbeddedLog* log) {
  auto opened = std::make_unique<EmbeddedRawLog>(log);
  DetectionLog& detections = opened->detections();
  return {.log = std::move(opened), .detections = &detections};
}

}  // namespace sightline
