// WebHdfsStorage: a Storage in a directory of an HDFS, over its HTTP interface WebHDFS.
//
// Put() creates a temporary file beside the target, under a name that no other attempt uses. Only
// when the server has confirmed the whole file does it get its name, by a RENAME that either
// replaces a file or fails if the name is taken. So a connection that breaks leaves a temporary
// file, never a part of the target. What a failed attempt leaves is deleted at once or with a later
// put, and by the vacuum if this process ends before.
//
// Requests that fail for want of an answer are repeated after a random pause, on the next NameNode
// if there are several. A RENAME may be repeated, too: its source exists once. If the repeated one
// does not find the source, Put() reads back what has the name. kRebuild is left for a NameNode
// that stays away after it may have taken the RENAME.
//
// A NameNode answers when its journal has the change. That the blocks are on disk when a file is
// closed is the setting dfs.datanode.synconclose of the DataNodes (docs/LAKE.md).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/storage/hdfs_options.h"
#include "connectors/storage/http_pool.h"
#include "connectors/storage/storage.h"
#include "connectors/storage/storage_metrics.h"
#include "connectors/storage/webhdfs_answer.h"

namespace sightline {

class WebHdfsStorage final : public Storage {
 public:
  // `name` is that of the section; `root` is absolute, without a '/' at its end. `metrics` counts
  // repeated requests, and may be null. After `stop`, what is asked fails soon. kStop if the
  // options cannot be right. Nothing is asked of the server yet.
  static Result<std::unique_ptr<Storage>> Create(const std::string& name, const std::string& root,
                                                 const HdfsOptions& options,
                                                 StorageMetrics* metrics, std::stop_token stop);

  Result<std::optional<std::string>> Read(std::string_view path, ByteRange range) override;
  Result<PutOutcome> PutFiles(std::span<const NewFile> files, PutMode mode) override;
  Result<std::vector<FileInfo>> List(std::string_view directory) override;
  Result<std::optional<FileInfo>> Stat(std::string_view path) override;
  Status Delete(std::string_view path) override;

 private:
  struct Request {
    HttpMethod method = HttpMethod::kGet;
    std::string_view operation;
    std::string path;        // below the root
    std::string parameters;  // as they are in the URL, each with its '&'
    Content body;            // for the server to which the NameNode redirects
  };
  struct Reply {
    HdfsVerdict verdict;
    std::string body;
    std::string host;              // that gave the verdict
    bool is_from_namenode = true;  // false: from the server to which it redirected
    bool ok() const { return verdict.kind == HdfsVerdict::Kind::kDone; }
  };

  WebHdfsStorage(std::string url, std::string root, const HdfsOptions& options,
                 StorageMetrics* metrics, std::stop_token stop, std::unique_ptr<HttpPool> http);

  // One attempt, at the NameNode that answered last, and where it redirects to.
  Reply AskOnce(const Request& request, const std::string& excluded_datanodes);
  // Attempts until one has an answer; `next` makes the request of each. may_be_done is that of any.
  Reply Ask(const std::function<Request()>& next);
  Reply Ask(const Request& request);
  std::string UrlOf(const Request& request, size_t namenode) const;
  Status Failure(const Reply& reply, std::string_view doing, std::string_view path) const;

  Result<PutOutcome> PutOne(std::string_view path, const Content& content, PutMode mode);
  Status MakeDirectory(std::string_view path);
  // Creates a temporary file beside the target; its path.
  Result<std::string> PutTemporary(std::string_view target, const Content& content);
  Result<PutOutcome> Rename(const std::string& temporary, std::string_view path,
                            const Content& content, PutMode mode);
  // Who has the name, when our temporary file is gone.
  Result<PutOutcome> ReadBack(std::string_view path, const Content& content, PutMode mode);
  // True: the temporary file was there, so nobody can rename it any more.
  bool Discard(const std::string& temporary);
  void Leave(const std::string& temporary);
  // Deletes some of what has been left. The first failure ends it.
  void DiscardLeft();

  const std::string url_;   // hdfs://NAME/path, for messages
  const std::string root_;  // of paths in this HDFS
  const HdfsOptions options_;
  StorageMetrics* const metrics_;
  const std::stop_token stop_;
  const std::unique_ptr<HttpPool> http_;
  std::atomic<size_t> namenode_ = 0;  // the index of the one that answered last
  std::mutex mutex_;
  // Under mutex_.
  std::vector<std::string> left_;      // temporary files of failed attempts, which may exist
  std::set<std::string> directories_;  // that have been made with their mode
};

}  // namespace sightline
