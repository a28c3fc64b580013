#include <utility>

#include "processes/raw_log.h"

namespace sightline {
namespace {

// The server's posts into the log's raw topic.
class EmbeddedDetections final : public DetectionLog {
 public:
  explicit EmbeddedDetections(EmbeddedLog* log) : log_(log) {}
  int32_t partitions() const override { return log_->partitions(); }
  bool Append(std::vector<PackedRecords> records, std::function<void(Status)> done) override {
    std::vector<EmbeddedLog::PackedRecords> packed;
    packed.reserve(records.size());
    for (PackedRecords& r : records)
      packed.push_back({.partition = r.partition, .count = r.count, .bytes = std::move(r.bytes)});
    return log_->Append(kRawTopic, std::move(packed), std::move(done));
  }

 private:
  EmbeddedLog* const log_;
};

class EmbeddedRawLog final : public RawLog {
 public:
  explicit EmbeddedRawLog(EmbeddedLog* log) : log_(log), detections_(log) {}
  std::vector<SourcePartition> Partitions() const override {
    std::vector<SourcePartition> partitions;
    for (int32_t p = 0; p < log_->partitions(); ++p)
      partitions.push_back({log_->SourceName(kRawTopic), p});
    return partitions;
  }
  LogEnd EndOf(const SourcePartition& partition) const override {
    const EmbeddedLog::End end = log_->EndOf(kRawTopic, partition.partition);
    return {end.next, end.newest};
  }
  void Watch(std::function<void(const SourcePartition&)> wake) override {
    watch_ = log_->OnAppend(kRawTopic, [source = log_->SourceName(kRawTopic),
                                        wake = std::move(wake)](int32_t partition) {
      wake({source, partition});
    });
  }
  void Unwatch() override { watch_.reset(); }
  std::unique_ptr<Source> OpenSource(const SourcePartition& partition) override {
    return log_->OpenSource(kRawTopic, partition.partition);
  }
  DetectionLog& detections() override { return detections_; }
  // Nothing: the process collects the metrics of its embedded log in any case.
  void CollectMetrics(std::vector<Metric>&) const override {}

 private:
  EmbeddedLog* const log_;
  EmbeddedDetections detections_;
  std::unique_ptr<AppendWatch> watch_;
};

}  // namespace

std::unique_ptr<RawLog> OpenEmbeddedRawLog(EmbeddedLog* log) {
  return std::make_unique<EmbeddedRawLog>(log);
}

}  // namespace sightline
