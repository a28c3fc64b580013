// LakeReader: opens a lake that other processes write, for queries. One thread calls Refresh(), or
// Follow() makes one that does; any thread may use the rest.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "base/status.h"
#include "connectors/lake/snapshot.h"
#include "connectors/storage/open_storage.h"
#include "history/file_cache.h"
#include "history/lake_view.h"
#include "query/query_service.h"

namespace sightline {

struct LakeReaderOptions {
  std::string lake;  // its root, a path or a URL
  StorageOptions storage;
  FileCacheOptions cache;  // of copies, where they are needed
  OpenQueries open_queries;
};

class LakeReader {
 public:
  // kStop: there is no lake at this place, or it cannot be read.
  static Result<std::unique_ptr<LakeReader>> Open(LakeReaderOptions options);
  // Opens a lake that may not exist yet, or whose place may be away, and follows it: every
  // `interval`, a thread moves queries to the newest version. kStop: the lake cannot be read.
  static Result<std::unique_ptr<LakeReader>> Follow(LakeReaderOptions options, Millis interval);
  ~LakeReader();

  // Moves queries to the newest version. The cost depends on the number of new commits. kRetry:
  // there is no lake yet, or its place is away. What queries see stays as it was.
  Status Refresh();
  QueryService& queries() { return *queries_; }
  // Why the lake has not been read yet, why the newest Refresh() of Follow() failed, or why queries
  // fail. Empty: all is well.
  std::string trouble() const;

 private:
  explicit LakeReader(LakeReaderOptions options) : options_(std::move(options)) {}
  Status Prepare();
  Status NotYet() const;
  Result<std::string> AbsentTable(Storage& storage) const;
  Status ReadTables(Storage& storage);
  Status ReadLocations(Storage& storage);
  void KeepFresh(const std::stop_token& stop, Millis interval);
  // Whether a lake has been found.
  bool complete() const { return ledger_ != nullptr; }

  LakeReaderOptions options_;
  std::stop_source stop_;             // ends what waits for the storage
  std::unique_ptr<Storage> storage_;  // of what is fetched
  std::unique_ptr<FileCache> cache_;  // null: the lake's files are read in place
  // Of the thread that refreshes.
  lake::SnapshotPtr counts_, ledger_, locations_;
  std::shared_ptr<LakeView> view_;
  std::unique_ptr<QueryService> queries_;

  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::string trouble_;  // under mutex_
  std::jthread follower_;
};

}  // namespace sightline
