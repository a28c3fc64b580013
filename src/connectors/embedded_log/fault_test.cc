// A disk that fills up, fails and loses power under the log: a layer between SQLite and its files.
//
// For each file, the layer keeps what the writes since its last sync have overwritten. A power cut
// copies the files and undoes those writes, which is the worst that a disk may do.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "connectors/embedded_log/log.h"
#include "connectors/embedded_log/testing.h"

namespace sightline {
namespace {

using embedded_log_testing::AppendAndWait;
using embedded_log_testing::ReadAll;
using embedded_log_testing::Settle;
using embedded_log_testing::TemporaryDirectory;
using testing::HasSubstr;

struct Disk {
  std::atomic<bool> full = false;
  std::atomic<bool> sync_fails = false;
  std::atomic<int64_t> syncs = 0;

  struct Undo {
    int64_t at = 0;
    std::string before;       // the bytes that were there
    int64_t size_before = 0;  // the file's size before the write
  };
  std::mutex mutex;
  std::map<std::string, std::vector<Undo>> unsynced;  // by path
};
Disk* disk = nullptr;  // the disk of the running test

struct File {
  sqlite3_file base;
  sqlite3_file* real;  // behind this struct
  std::string* path;   // null: a temporary file, or one that is not watched
};
File& Of(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
sqlite3_file* Real(sqlite3_file* file) { return Of(file).real; }

// Remembers the present content of [at, at + size).
void NoteBefore(File& file, int64_t at, int64_t size) {
  if (file.path == nullptr) return;
  sqlite3_int64 size_before = 0;
  file.real->pMethods->xFileSize(file.real, &size_before);
  std::string before(static_cast<size_t>(std::clamp<int64_t>(size_before - at, 0, size)), '\0');
  if (!before.empty())
    file.real->pMethods->xRead(file.real, before.data(), static_cast<int>(before.size()), at);
  disk->unsynced[*file.path].push_back({at, std::move(before), size_before});
}

int Close(sqlite3_file* file) {
  const int code = Real(file)->pMethods->xClose(Real(file));
  delete Of(file).path;
  return code;
}
int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 at) {
  if (disk->full) return SQLITE_FULL;
  const std::lock_guard lock(disk->mutex);
  NoteBefore(Of(file), at, size);
  return Real(file)->pMethods->xWrite(Real(file), data, size, at);
}
int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  const std::lock_guard lock(disk->mutex);
  sqlite3_int64 size_before = 0;
  Real(file)->pMethods->xFileSize(Real(file), &size_before);
  if (size < size_before) NoteBefore(Of(file), size, size_before - size);
  return Real(file)->pMethods->xTruncate(Real(file), size);
}
int Sync(sqlite3_file* file, int flags) {
  ++disk->syncs;
  if (disk->sync_fails) return SQLITE_IOERR_FSYNC;
  const std::lock_guard lock(disk->mutex);
  if (Of(file).path != nullptr) disk->unsynced.erase(*Of(file).path);
  return Real(file)->pMethods->xSync(Real(file), flags);
}
// The other calls go straight through.
int Read(sqlite3_file* f, void* data, int size, sqlite3_int64 at) {
  return Real(f)->pMethods->xRead(Real(f), data, size, at);
}
int FileSize(sqlite3_file* f, sqlite3_int64* size) {
  return Real(f)->pMethods->xFileSize(Real(f), size);
}
int Lock(sqlite3_file* f, int level) { return Real(f)->pMethods->xLock(Real(f), level); }
int Unlock(sqlite3_file* f, int level) { return Real(f)->pMethods->xUnlock(Real(f), level); }
int CheckReserved(sqlite3_file* f, int* out) {
  return Real(f)->pMethods->xCheckReservedLock(Real(f), out);
}
int Control(sqlite3_file* f, int op, void* arg) {
  return Real(f)->pMethods->xFileControl(Real(f), op, arg);
}
int SectorSize(sqlite3_file* f) { return Real(f)->pMethods->xSectorSize(Real(f)); }
int Characteristics(sqlite3_file* f) { return Real(f)->pMethods->xDeviceCharacteristics(Real(f)); }
int ShmMap(sqlite3_file* f, int page, int size, int extend, void volatile** out) {
  return Real(f)->pMethods->xShmMap(Real(f), page, size, extend, out);
}
int ShmLock(sqlite3_file* f, int offset, int n, int flags) {
  return Real(f)->pMethods->xShmLock(Real(f), offset, n, flags);
}
void ShmBarrier(sqlite3_file* f) { Real(f)->pMethods->xShmBarrier(Real(f)); }
int ShmUnmap(sqlite3_file* f, int remove) { return Real(f)->pMethods->xShmUnmap(Real(f), remove); }

const sqlite3_io_methods kMethods = {
    2,        Close,         Read,    Write,      Truncate,        Sync,   FileSize, Lock,
    Unlock,   CheckReserved, Control, SectorSize, Characteristics, ShmMap, ShmLock,  ShmBarrier,
    ShmUnmap, nullptr,       nullptr};

int OpenFile(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  auto* real_vfs = static_cast<sqlite3_vfs*>(vfs->pAppData);
  File& shim = *new (file) File();
  shim.real = reinterpret_cast<sqlite3_file*>(&shim + 1);
  const int code = real_vfs->xOpen(real_vfs, name, shim.real, flags, out_flags);
  if (code != SQLITE_OK || shim.real->pMethods == nullptr) {
    shim.base.pMethods = nullptr;
    return code;
  }
  if (name != nullptr) shim.path = new std::string(name);
  shim.base.pMethods = &kMethods;
  return SQLITE_OK;
}

// While this object lives, every file that SQLite opens lies on `disk`.
class FaultyDisk {
 public:
  FaultyDisk() : real_(sqlite3_vfs_find(nullptr)), vfs_(*real_) {
    vfs_.zName = "faulty";
    vfs_.pNext = nullptr;
    vfs_.pAppData = real_;
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs_.xOpen = OpenFile;
    // The other methods use the vfs only for its name and pAppData, which the unix vfs does not
    // use.
    disk = &state_;
    sqlite3_vfs_register(&vfs_, 1);
  }
  ~FaultyDisk() {
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(real_, 1);
    disk = nullptr;
  }
  Disk& state() { return state_; }

  // Returns what would be on the disk after a power cut now.
  void CutPowerAndCopy(const std::string& from, const std::string& to) {
    const std::lock_guard lock(state_.mutex);
    std::filesystem::create_directories(to);
    for (const char* name : {"/log.db", "/log.db-wal"}) {
      if (!std::filesystem::exists(from + name)) continue;
      std::filesystem::copy_file(from + name, to + name);
      const auto unsynced = state_.unsynced.find(from + name);
      if (unsynced == state_.unsynced.end()) continue;
      for (auto undo = unsynced->second.rbegin(); undo != unsynced->second.rend(); ++undo) {
        std::fstream file(to + name, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(undo->at);
        file << undo->before;
        file.close();
        std::filesystem::resize_file(to + name, static_cast<uintmax_t>(undo->size_before));
      }
    }
  }

 private:
  Disk state_;
  sqlite3_vfs* real_;
  sqlite3_vfs vfs_;
};

class FaultTest : public testing::Test {
 protected:
  std::unique_ptr<EmbeddedLog> Open(const std::string& dir) {
    Result<std::unique_ptr<EmbeddedLog>> opened =
        EmbeddedLog::Open({.dir = dir, .partitions = 2, .clock = &time_});
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    return opened.ok() ? std::move(opened).value() : nullptr;
  }
  std::string dir() { return directory_.path() + "/data"; }

  FaultyDisk disk_;
  TemporaryDirectory directory_{std::filesystem::temp_directory_path()};
  SystemClock clock_;
  LogClock time_{clock_};
};

TEST_F(FaultTest, AFullDiskIsSaidAndGoesOnWhenThereIsSpace) {
  auto log = Open(dir());
  ASSERT_TRUE(AppendAndWait(*log, "raw", 0, {"a"}).ok());
  disk_.state().full = true;
  for (int i = 0; i < 3; ++i) {
    const Status full = AppendAndWait(*log, "raw", 0, {std::string(100'000, 'x')});
    EXPECT_EQ(full.code(), StatusCode::kRetry);
    EXPECT_THAT(full.message(), HasSubstr("disk is full"));
  }
  EXPECT_EQ(log->Health().code(), StatusCode::kRetry);
  EXPECT_EQ(log->stats().commits_failed, 3);
  EXPECT_EQ(log->stats().queue_bytes, 0);
  disk_.state().full = false;
  ASSERT_TRUE(AppendAndWait(*log, "raw", 0, {"b"}).ok());
  EXPECT_TRUE(log->Health().ok());
  log = nullptr;
  log = Open(dir());
  const auto source = log->OpenSource("raw", 0);
  const auto records = ReadAll(*source, {0});
  ASSERT_TRUE(records.ok()) << records.status().message();
  ASSERT_EQ(records.value().size(), 2u);
  EXPECT_EQ(records.value()[0].payload, "a");
  EXPECT_EQ(records.value()[1].payload, "b");
}

TEST_F(FaultTest, AFailedSyncAcknowledgesNothing) {
  auto log = Open(dir());
  disk_.state().sync_fails = true;
  EXPECT_EQ(AppendAndWait(*log, "raw", 0, {"a"}).code(), StatusCode::kRetry);
  disk_.state().sync_fails = false;
  EXPECT_TRUE(AppendAndWait(*log, "raw", 0, {"b"}).ok());
  const auto source = log->OpenSource("raw", 0);
  const auto records = ReadAll(*source, {0});
  ASSERT_TRUE(records.ok()) << records.status().message();
  ASSERT_EQ(records.value().size(), 1u);
  EXPECT_EQ(records.value()[0].payload, "b");
}

TEST_F(FaultTest, ACommitOfCountsSurvivesAFullDisk) {
  const SourcePartition partition{"s", 0};
  auto log = Open(dir());
  const auto sink = log->OpenCountsSink({});
  ASSERT_TRUE(Settle([&] { return sink->Fence(partition, {1}); }).ok());
  const auto make = [](int64_t first, int64_t next) {
    Segment segment{.first = {first}, .next = {next}};
    segment.counts.push_back({.key = {.pane_start = {0}, .item = "bus"}, .count = next - first});
    return segment;
  };
  const auto commit = [&](const std::vector<Segment>& segments) {
    return Settle([&] { return sink->Commit(partition, segments); });
  };
  ASSERT_TRUE(commit({make(0, 1)}).ok());
  disk_.state().full = true;
  EXPECT_EQ(commit({make(1, 2)}).status().code(), StatusCode::kRetry);
  EXPECT_EQ(sink->Committed(partition).value(), Offset{1});
  disk_.state().full = false;
  // Cut into other segments than the commit that failed.
  EXPECT_EQ(commit({make(1, 3), make(3, 4)}).value(), Offset{4});
  EXPECT_EQ(commit({make(4, 5)}).value(), Offset{5});
  int64_t count = 0;
  ASSERT_TRUE(log->ForEachGroup(partition, kBeforeAllTime,
                                [&](Segment&& group) {
                                  for (const CountRow& row : group.counts) count += row.count;
                                })
                  .ok());
  EXPECT_EQ(count, 5);
}

// Every commit is synced before it is acknowledged, even while the write-ahead log is copied and
// starts over.
TEST_F(FaultTest, APowerCutLosesNothingThatWasAcknowledged) {
  auto log = Open(dir());
  std::atomic<int64_t> acknowledged = 0;
  std::atomic<bool> stop = false;
  std::thread sender([&] {
    for (int64_t n = 0; !stop && n < 450;) {
      std::string record = fmt::format("{} ", n);
      record.resize(n % 7 == 0 ? 300'000 : 200, 'x');
      if (!AppendAndWait(*log, "raw", 0, {record}).ok()) break;
      acknowledged = ++n;
      // Long enough for the log to become idle and copy its write-ahead log.
      if (n % 200 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(40));
    }
  });
  for (int cut = 0; cut < 8; ++cut) {
    std::this_thread::sleep_for(std::chrono::milliseconds(4 * cut));
    const int64_t before = acknowledged;
    const TemporaryDirectory copy(std::filesystem::temp_directory_path());
    disk_.CutPowerAndCopy(dir(), copy.path());
    const auto after = Open(copy.path());
    ASSERT_NE(after, nullptr);
    const auto source = after->OpenSource("raw", 0);
    const auto records = ReadAll(*source, {0});
    ASSERT_TRUE(records.ok()) << records.status().message();
    EXPECT_GE(static_cast<int64_t>(records.value().size()), before);
    for (const auto& record : records.value())
      ASSERT_EQ(std::stoll(record.payload), record.offset.v);
  }
  stop = true;
  sender.join();
  EXPECT_GT(acknowledged, 0);
  EXPECT_GE(disk_.state().syncs, acknowledged);
  log = nullptr;
}

}  // namespace
}  // namespace sightline
