#include "connectors/storage/storage_metrics.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "connectors/storage/open_storage.h"

namespace sightline {
namespace {

double ValueOf(const StorageMetrics& metrics, const std::string& name,
               const std::string& operation) {
  for (const Metric& metric : metrics.Metrics())
    if (metric.name == "sightline_lake_storage_" + name + "_total" &&
        metric.labels.at(0).second == operation)
      return metric.value;
  ADD_FAILURE() << "there is no " << name << " of " << operation;
  return -1;
}

TEST(StorageMetrics, CountsCallsBytesAndFailures) {
  std::string root = (std::filesystem::temp_directory_path() / "sightline-XXXXXX").string();
  ASSERT_NE(mkdtemp(root.data()), nullptr);
  StorageMetrics metrics;
  const auto storage = std::move(OpenStorage(root, {.metrics = &metrics})).value();
  const std::vector<NewFile> files = {{"a/1", "x"}, {"a/2", "yy"}};
  ASSERT_TRUE(storage->PutFiles(files, PutMode::kReplace).ok());
  ASSERT_EQ(storage->Put("a/3", "zzz", PutMode::kIfAbsent).value(), PutOutcome::kWritten);
  ASSERT_EQ(storage->Put("a/3", "zzz", PutMode::kIfAbsent).value(), PutOutcome::kTaken);
  EXPECT_FALSE(storage->Put("a/1/b", "x", PutMode::kReplace).ok());
  ASSERT_TRUE(storage->Confirm("a/3").ok());
  EXPECT_EQ(ValueOf(metrics, "calls", "put"), 6);
  EXPECT_EQ(ValueOf(metrics, "failures", "put"), 1);
  EXPECT_EQ(ValueOf(metrics, "bytes", "put"), 6);  // what was written
  EXPECT_GT(ValueOf(metrics, "seconds", "put"), 0);
  EXPECT_EQ(storage->ReadWhole("a/2").value(), "yy");
  EXPECT_EQ(storage->ReadWhole("a/9").value(), std::nullopt);
  EXPECT_EQ(ValueOf(metrics, "calls", "read"), 2);
  EXPECT_EQ(ValueOf(metrics, "bytes", "read"), 2);
  ASSERT_EQ(storage->List("a").value().size(), 3u);
  ASSERT_TRUE(storage->Stat("a/1").ok() && storage->Delete("a/1").ok());
  for (const char* operation : {"list", "stat"})
    EXPECT_EQ(ValueOf(metrics, "calls", operation), 1) << operation;
  EXPECT_EQ(ValueOf(metrics, "calls", "delete"), 2);  // one of them of Confirm()
  metrics.AddRetry(StorageOperation::kList);
  EXPECT_EQ(ValueOf(metrics, "retries", "list"), 1);
  EXPECT_EQ(ValueOf(metrics, "retries", "put"), 0);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace sightline
