// The harnesses of storage that needs nothing but this machine.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "connectors/embedded_log/testing.h"
#include "connectors/storage/open_storage.h"
#include "harness.h"

namespace sightline::conformance {
namespace {

class LocalStorageHarness final : public StorageHarness {
 public:
  std::unique_ptr<Storage> Open() override {
    return std::move(OpenStorage("file://" + directory_.path() + "/a/root", {})).value();
  }

 private:
  embedded_log_testing::TemporaryDirectory directory_;
};

// Everything that the port allows a store to do. The calls of all its instances are counted
// together, so that the faults reach each kind of call in turn.
class FaultyStorage final : public Storage {
 public:
  FaultyStorage(std::unique_ptr<Storage> store, std::atomic<int64_t>* calls)
      : store_(std::move(store)), calls_(calls) {}

  Result<std::optional<std::string>> Read(std::string_view path, ByteRange range) override {
    if (Refuses()) return Refused();
    return store_->Read(path, range);
  }
  Result<PutOutcome> PutFiles(std::span<const NewFile> files, PutMode mode) override {
    const int64_t call = ++*calls_;
    if (call % 7 == 1) return Refused();
    if (call % 7 == 2) {
      if (!files.empty()) Tear(files[0]);
      if (files.size() > 1) (void)store_->PutFiles(files.first(files.size() / 2), mode);
      return Refused();
    }
    if (call % 7 == 3) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    Result<PutOutcome> put = store_->PutFiles(files, mode);
    if (put.ok() && call % 7 == 4) return Status::Rebuild("the answer is lost");
    return put;
  }
  Result<std::vector<FileInfo>> List(std::string_view directory) override {
    if (Refuses()) return Refused();
    return store_->List(directory);
  }
  Result<std::optional<FileInfo>> Stat(std::string_view path) override {
    if (Refuses()) return Refused();
    return store_->Stat(path);
  }
  Status Delete(std::string_view path) override {
    if (Refuses()) return Refused();
    const Status status = store_->Delete(path);
    return status.ok() && *calls_ % 5 == 0 ? Refused() : status;  // done, and not said
  }

 private:
  bool Refuses() { return ++*calls_ % 3 == 0; }
  static Status Refused() { return Status::Retry("not now"); }
  // As a put that was interrupted leaves it.
  void Tear(const NewFile& file) {
    std::string half(static_cast<size_t>(file.content.size() / 2), '\0');
    if (!file.content.Read(0, half).ok()) return;
    (void)store_->Put(file.path.substr(0, file.path.rfind('/') + 1) + UniquePutName(), half,
                      PutMode::kReplace);
  }

  const std::unique_ptr<Storage> store_;
  std::atomic<int64_t>* const calls_;
};

class FaultyStorageHarness final : public StorageHarness {
 public:
  std::unique_ptr<Storage> Open() override {
    return std::make_unique<FaultyStorage>(local_.Open(), &calls_);
  }

 private:
  LocalStorageHarness local_;
  std::atomic<int64_t> calls_ = 0;
};

}  // namespace

std::unique_ptr<StorageHarness> MakeLocalStorage() {
  return std::make_unique<LocalStorageHarness>();
}
std::unique_ptr<StorageHarness> MakeFaultyStorage() {
  return std::make_unique<FaultyStorageHarness>();
}

}  // namespace sightline::conformance
