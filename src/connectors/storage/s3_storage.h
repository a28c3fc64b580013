// S3Storage: a Storage below a prefix of a bucket, over the HTTP interface of S3.
//
// A file is one object, and a PUT of an object is atomic: readers see all of it or what was there
// before. With kIfAbsent the PUT has "If-None-Match: *", whatever its size, and one of several
// wins. Otherwise a file above 8 MiB goes up in parts, which become the object with the last
// request. An upload that fails is aborted. What a crash leaves of one is listed as a file
// ".put-<upload>+<name>" beside the target; its Delete() aborts it.
//
// The server checks the hash that each body is signed with, and keeps that of a small file; Read()
// of a whole file checks it.
//
// Requests that fail for want of an answer, or because the server wants fewer, are repeated after a
// random pause. A repeated conditional PUT may meet the file of the one before it: then Put() reads
// back what has the name. kRebuild is left for a server that stays away after it may have taken a
// PUT. A server that finds our clock wrong is asked again by its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "connectors/storage/http_pool.h"
#include "connectors/storage/s3_answer.h"
#include "connectors/storage/s3_credentials.h"
#include "connectors/storage/s3_options.h"
#include "connectors/storage/storage.h"
#include "connectors/storage/storage_metrics.h"

namespace sightline {

class S3Storage final : public Storage {
 public:
  // `prefix` is a path without a '/' at its ends. `metrics` counts repeated requests, and may be
  // null. After `stop`, what is asked fails soon. kStop if the options cannot be right. Nothing is
  // asked of the server yet.
  static Result<std::unique_ptr<Storage>> Create(const std::string& bucket,
                                                 const std::string& prefix,
                                                 const S3Options& options, StorageMetrics* metrics,
                                                 std::stop_token stop);

  Result<std::optional<std::string>> Read(std::string_view path, ByteRange range) override;
  Result<PutOutcome> PutFiles(std::span<const NewFile> files, PutMode mode) override;
  Result<std::vector<FileInfo>> List(std::string_view directory) override;
  Result<std::optional<FileInfo>> Stat(std::string_view path) override;
  Status Delete(std::string_view path) override;

 private:
  struct Request {
    StorageOperation operation = StorageOperation::kRead;
    HttpMethod method = HttpMethod::kGet;
    std::optional<std::string> path;  // below the prefix; none: of the bucket itself
    std::map<std::string, std::string> parameters;
    std::map<std::string, std::string> headers;
    Content body;
    std::string body_hash;    // SHA-256; empty: there is no body
    std::string_view action;  // the right that it needs, as "PutObject"
  };
  struct Reply {
    S3Verdict verdict;
    HttpAnswer answer;
    bool ok() const { return verdict.kind == S3Verdict::Kind::kDone; }
  };

  S3Storage(std::string bucket, std::string prefix, const S3Options& options,
            StorageMetrics* metrics, std::stop_token stop, std::unique_ptr<HttpPool> http,
            std::unique_ptr<S3Credentials> credentials);

  Reply AskOnce(const Request& request, const std::string& payload_hash);
  // Attempts until one has an answer. may_be_done is that of any attempt.
  Reply Ask(const Request& request);
  Status Failure(const Reply& reply, std::string_view doing, std::string_view path) const;
  // What a request needs, as a sentence goes on after "give this key".
  std::string RightOf(const Request& request) const;
  void AddEncryption(std::map<std::string, std::string>& headers) const;

  Result<PutOutcome> PutOne(std::string_view path, const Content& content, PutMode mode);
  Result<PutOutcome> PutAtOnce(std::string_view path, const Content& content, PutMode mode);
  Result<PutOutcome> PutInParts(std::string_view path, const Content& content);
  // What the server calls each part, in order.
  Result<std::vector<std::string>> PutParts(std::string_view path, const std::string& upload,
                                            const Content& content);
  Result<PutOutcome> Complete(std::string_view path, const std::string& upload,
                              const std::vector<std::string>& etags, const Content& content);
  Status Abort(std::string_view path, const std::string& upload);
  // Who has the name, when an attempt of ours may have given it.
  Result<PutOutcome> ReadBack(std::string_view path, const Content& content, PutMode mode);

  // All pages of a list. `request` asks for the first one.
  Result<std::vector<S3Object>> ListAll(Request request, std::string_view directory);
  Result<std::vector<FileInfo>> ListFiles(std::string_view directory);
  // Those of interrupted puts.
  Result<std::vector<FileInfo>> ListUploads(std::string_view directory);

  const std::string url_;  // s3://BUCKET/prefix, for messages
  const std::string bucket_, prefix_;
  const S3Options options_;
  std::string endpoint_;   // "https://HOST", with the bucket unless that is in the path
  std::string host_;       // as the header Host has it
  std::string base_path_;  // before a key, encoded: "/" or "/BUCKET/"
  StorageMetrics* const metrics_;
  const std::stop_token stop_;
  const std::unique_ptr<HttpPool> http_;
  const std::unique_ptr<S3Credentials> credentials_;
  std::atomic<int64_t> clock_offset_ms_ = 0;  // what the server's clock is ahead of ours
};

}  // namespace sightline
