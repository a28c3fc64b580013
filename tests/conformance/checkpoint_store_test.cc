// What engine/checkpoint_store.h promises.
#include "engine/checkpoint_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "connectors/checkpoint_files/checkpoint_files.h"
#include "harness.h"

namespace sightline::conformance {
namespace {

// The store of files on each storage that does as it is told.
class FilesHarness final : public StoreHarness {
 public:
  explicit FilesHarness(std::unique_ptr<StorageHarness> storage) : storage_(std::move(storage)) {}
  std::unique_ptr<CheckpointStore> Open() override {
    return std::make_unique<CheckpointFiles>(storage_->Open(), "checkpoints");
  }

 private:
  const std::unique_ptr<StorageHarness> storage_;
};

std::vector<Implementation<StoreHarness>> AllStores() {
  std::vector<Implementation<StoreHarness>> stores = Stores();
  for (const Implementation<StorageHarness>& storage : Storages())
    if (storage.name != "faulty")
      stores.push_back({"files_on_" + storage.name,
                        [make = storage.make] { return std::make_unique<FilesHarness>(make()); }});
  return stores;
}

const SourcePartition kPartition{"embedded:0123456789abcdef/raw_camera_events", 3};

class CheckpointStoreTest : public testing::TestWithParam<Implementation<StoreHarness>> {
 protected:
  static Status Claim(CheckpointStore& store, Epoch epoch,
                      const SourcePartition& partition = kPartition) {
    return store.PutIfAbsent(partition, epoch, nullptr);
  }
  static Status Put(CheckpointStore& store, Epoch epoch, const std::vector<std::string>& pieces,
                    const SourcePartition& partition = kPartition) {
    ByteSpool checkpoint;
    for (const std::string& piece : pieces) checkpoint.Write(piece);
    return store.PutIfAbsent(partition, epoch, &checkpoint);
  }
  static StoredCheckpoint Latest(CheckpointStore& store,
                                 const SourcePartition& partition = kPartition) {
    Result<StoredCheckpoint> latest = store.Latest(partition);
    EXPECT_TRUE(latest.ok()) << latest.status().message();
    return latest.ok() ? std::move(latest).value() : StoredCheckpoint{};
  }
  // Checks with a new instance, because what is put must be there for every later owner.
  void ExpectLatest(Epoch newest, const std::optional<std::string>& checkpoint) {
    const StoredCheckpoint latest = Latest(*home_->Open());
    EXPECT_EQ(latest.newest, newest);
    EXPECT_EQ(latest.checkpoint, checkpoint);
  }

  std::unique_ptr<StoreHarness> home_ = GetParam().make();
};

TEST_P(CheckpointStoreTest, BeginsWithNothing) { ExpectLatest({0}, std::nullopt); }

TEST_P(CheckpointStoreTest, AClaimIsTheNewestEntryAndNoCheckpoint) {
  const auto store = home_->Open();
  ASSERT_TRUE(Claim(*store, {1}).ok());
  ExpectLatest({1}, std::nullopt);
  ASSERT_TRUE(Put(*store, {2}, {"two"}).ok());
  ExpectLatest({2}, "two");
  ASSERT_TRUE(Claim(*home_->Open(), {3}).ok());
  ASSERT_TRUE(Claim(*home_->Open(), {4}).ok());
  ExpectLatest({4}, "two");
  ASSERT_TRUE(Put(*home_->Open(), {5}, {"five"}).ok());
  ExpectLatest({5}, "five");
}

TEST_P(CheckpointStoreTest, AnEpochIsPutOnceWhateverItIs) {
  const auto store = home_->Open();
  ASSERT_TRUE(Claim(*store, {1}).ok());
  EXPECT_EQ(Claim(*home_->Open(), {1}).code(), StatusCode::kRebuild);
  EXPECT_EQ(Put(*home_->Open(), {1}, {"other"}).code(), StatusCode::kRebuild);
  ASSERT_TRUE(Put(*store, {2}, {"mine"}).ok());
  EXPECT_EQ(Claim(*home_->Open(), {2}).code(), StatusCode::kRebuild);
  EXPECT_EQ(Put(*home_->Open(), {2}, {"other"}).code(), StatusCode::kRebuild);
  ExpectLatest({2}, "mine");
}

// A store may delete what is older than its newest checkpoint, but an epoch never becomes free
// again.
TEST_P(CheckpointStoreTest, AnEpochStaysTakenWhenItsEntryIsDeleted) {
  const auto store = home_->Open();
  for (int64_t epoch = 1; epoch <= 9; ++epoch)
    ASSERT_TRUE((epoch % 3 == 1 ? Claim(*store, {epoch}) : Put(*store, {epoch}, {"x"})).ok());
  for (int64_t epoch = 1; epoch <= 9; ++epoch) {
    EXPECT_EQ(Claim(*home_->Open(), {epoch}).code(), StatusCode::kRebuild) << epoch;
    EXPECT_EQ(Put(*home_->Open(), {epoch}, {"y"}).code(), StatusCode::kRebuild) << epoch;
  }
  ExpectLatest({9}, "x");
}

TEST_P(CheckpointStoreTest, KeepsTheBytes) {
  const auto store = home_->Open();
  ASSERT_TRUE(Put(*store, {1}, {}).ok());
  ExpectLatest({1}, "");
  const std::string odd("\0\xff\n", 3);
  ASSERT_TRUE(Put(*store, {2}, {"", odd, "a"}).ok());
  ExpectLatest({2}, odd + "a");
  std::vector<std::string> pieces;
  std::string whole;
  for (size_t i = 0; i < 300; ++i) {
    pieces.push_back(std::string(i * 97 % 40'000, static_cast<char>(i)));
    whole += pieces.back();
  }
  ASSERT_TRUE(Put(*store, {3}, pieces).ok());
  ExpectLatest({3}, whole);
}

TEST_P(CheckpointStoreTest, PartitionsAndSourcesAreApart) {
  const auto store = home_->Open();
  const std::vector<SourcePartition> partitions = {kPartition,   {kPartition.source, 4},
                                                   {"a", 1},     {"a/1", 1},
                                                   {"a%2F1", 1}, {"A", 1},
                                                   {".", 1},     {"..", 1},
                                                   {"", 1},      {"Übergang \n*", 1}};
  for (size_t i = 0; i < partitions.size(); ++i) {
    EXPECT_EQ(Latest(*store, partitions[i]).newest, Epoch{0}) << partitions[i].source;
    ASSERT_TRUE(Put(*store, {1}, {std::to_string(i)}, partitions[i]).ok()) << i;
  }
  for (size_t i = 0; i < partitions.size(); ++i)
    EXPECT_EQ(Latest(*store, partitions[i]).checkpoint, std::to_string(i));
}

TEST_P(CheckpointStoreTest, OfManyWhoClaimOneWins) {
  constexpr int kOwners = 4;
  constexpr int64_t kEpochs = 25;
  std::atomic<int> won[kEpochs + 1] = {};
  std::atomic<int> wrong = 0;
  std::vector<std::thread> owners;
  for (int owner = 0; owner < kOwners; ++owner)
    owners.emplace_back([&, owner] {
      const auto store = home_->Open();
      for (int64_t epoch = 1; epoch <= kEpochs; ++epoch) {
        const Status put =
            (epoch + owner) % 3 == 0 ? Put(*store, {epoch}, {"x"}) : Claim(*store, {epoch});
        if (put.ok()) {
          ++won[epoch];
        } else if (put.code() != StatusCode::kRebuild) {
          ++wrong;
        }
      }
    });
  for (std::thread& owner : owners) owner.join();
  EXPECT_EQ(wrong, 0);
  // A put that a newer one has overtaken may report an unknown outcome, but an epoch is never won
  // twice.
  for (int64_t epoch = 1; epoch <= kEpochs; ++epoch) EXPECT_LE(won[epoch], 1) << epoch;
  EXPECT_EQ(won[kEpochs], 1);
  EXPECT_EQ(Latest(*home_->Open()).newest, Epoch{kEpochs});
}

// Spilled runs beside the entries.

TEST_P(CheckpointStoreTest, ARunIsThereForWhoeverComes) {
  const std::string odd = std::string("\0\xff\n", 3) + std::string(300'000, 'x');
  ASSERT_TRUE(home_->Open()->PutRun(kPartition, {{3}, 1}, odd).ok());
  ASSERT_TRUE(home_->Open()->PutRun(kPartition, {{3}, 2}, "").ok());
  EXPECT_EQ(home_->Open()->ReadRun(kPartition, {{3}, 1}).value(), odd);
  EXPECT_EQ(home_->Open()->ReadRun(kPartition, {{3}, 2}).value(), "");
  ExpectLatest({0}, std::nullopt);  // a run is not an entry
}

TEST_P(CheckpointStoreTest, ARunIsNeverOverwritten) {
  ASSERT_TRUE(home_->Open()->PutRun(kPartition, {{3}, 1}, "first").ok());
  EXPECT_EQ(home_->Open()->PutRun(kPartition, {{3}, 1}, "second").code(), StatusCode::kRetry);
  ASSERT_TRUE(home_->Open()->PutRun(kPartition, {{4}, 1}, "another owner's").ok());
  EXPECT_EQ(home_->Open()->ReadRun(kPartition, {{3}, 1}).value(), "first");
  EXPECT_EQ(home_->Open()->ReadRun(kPartition, {{4}, 1}).value(), "another owner's");
}

TEST_P(CheckpointStoreTest, ARunThatIsNotThereIsForAPerson) {
  const auto store = home_->Open();
  EXPECT_EQ(store->ReadRun(kPartition, {{3}, 1}).status().code(), StatusCode::kStop);
  ASSERT_TRUE(store->PutRun(kPartition, {{3}, 1}, "x").ok());
  const SourcePartition other{kPartition.source, 4};
  EXPECT_EQ(store->ReadRun(other, {{3}, 1}).status().code(), StatusCode::kStop);
}

TEST_P(CheckpointStoreTest, TheNewestOwnerRemovesTheRunsThatItDoesNotKeep) {
  const auto store = home_->Open();
  const SourcePartition other{kPartition.source, 4};
  ASSERT_TRUE(Claim(*store, {5}).ok());
  for (int64_t owner = 3; owner <= 6; ++owner)
    for (int64_t number = 1; number <= 2; ++number)
      ASSERT_TRUE(store->PutRun(kPartition, {{owner}, number}, "x").ok());
  ASSERT_TRUE(store->PutRun(other, {{3}, 1}, "x").ok());
  const RunId kept[] = {{{3}, 2}, {{5}, 1}, {{9}, 9}};
  ASSERT_TRUE(home_->Open()->RemoveRuns(kPartition, {5}, kept).ok());
  for (int64_t owner = 3; owner <= 6; ++owner)
    for (int64_t number = 1; number <= 2; ++number) {
      const RunId id{{owner}, number};
      // Owner 6 is newer than this one.
      const bool there = id == kept[0] || id == kept[1] || owner == 6;
      EXPECT_EQ(store->ReadRun(kPartition, id).ok(), there) << owner << "-" << number;
    }
  EXPECT_TRUE(store->ReadRun(other, {{3}, 1}).ok());
  ExpectLatest({5}, std::nullopt);
  ASSERT_TRUE(store->RemoveRuns(kPartition, {5}, kept).ok());  // again
}

TEST_P(CheckpointStoreTest, WhoeverIsNotTheNewestRemovesNothing) {
  const auto store = home_->Open();
  EXPECT_EQ(store->RemoveRuns(kPartition, {5}, {}).code(), StatusCode::kRebuild);
  ASSERT_TRUE(store->PutRun(kPartition, {{5}, 1}, "x").ok());
  ASSERT_TRUE(Claim(*store, {5}).ok());
  ASSERT_TRUE(Claim(*store, {6}).ok());
  EXPECT_EQ(store->RemoveRuns(kPartition, {5}, {}).code(), StatusCode::kRebuild);
  ASSERT_TRUE(Put(*store, {7}, {"x"}).ok());
  EXPECT_EQ(store->RemoveRuns(kPartition, {6}, {}).code(), StatusCode::kRebuild);
  EXPECT_TRUE(store->ReadRun(kPartition, {{5}, 1}).ok());
  ASSERT_TRUE(store->RemoveRuns(kPartition, {7}, {}).ok());
  EXPECT_EQ(store->ReadRun(kPartition, {{5}, 1}).status().code(), StatusCode::kStop);
}

INSTANTIATE_TEST_SUITE_P(All, CheckpointStoreTest, testing::ValuesIn(AllStores()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace sightline::conformance
