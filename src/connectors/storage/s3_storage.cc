#include "connectors/storage/s3_storage.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "connectors/storage/at_once.h"
#include "connectors/storage/read_back.h"
#include "connectors/storage/s3_signature.h"
#include "connectors/storage/storage_path.h"

namespace sightline {
namespace {

using Kind = S3Verdict::Kind;

constexpr int64_t kPartBytesMin = 8 << 20;
constexpr int64_t kPartsMax = 10'000;
constexpr int64_t kPutBytesMax = int64_t{5} << 30;  // of one PUT
// Between the upload and the file's name, in the name of an interrupted put.
constexpr char kOfUpload = '+';

std::string_view NameOf(HttpMethod method) {
  switch (method) {
    case HttpMethod::kGet:
      return "GET";
    case HttpMethod::kPut:
      return "PUT";
    case HttpMethod::kPost:
      return "POST";
    case HttpMethod::kDelete:
      return "DELETE";
  }
  return "";
}

Status CheckOptions(const std::string& bucket, const S3Options& options) {
  const auto refuse = [&bucket](std::string_view why) {
    return Status::Stop(fmt::format("[s3.{}] is not valid: {}", bucket, why));
  };
  const std::string& url = options.endpoint;
  if (!url.empty() && !url.starts_with("http://") && !url.starts_with("https://"))
    return refuse(fmt::format("endpoint is '{}': it must begin with http:// or https://", url));
  if (url.find('/', url.find("://") + 3) != std::string::npos)
    return refuse(fmt::format("endpoint is '{}': write it without a path", url));
  if (options.region.empty()) return refuse("region is empty: us-east-1 fits most servers");
  if (!options.kms_key.empty() && options.encryption != S3Encryption::kKms)
    return refuse("kms_key needs encryption = \"sse-kms\"");
  return Status::Ok();
}

// libcurl leaves out the port that is the scheme's own.
std::string HostHeader(const std::string& endpoint) {
  std::string host = HostOf(endpoint);
  const std::string_view port = endpoint.starts_with("https://") ? ":443" : ":80";
  if (host.ends_with(port)) host.resize(host.size() - port.size());
  return host;
}

// Of a directory of the path of a file; empty without one.
std::string DirectoryPrefix(std::string_view path) {
  return std::string(path.substr(0, path.rfind('/') + 1));  // npos + 1 is 0
}

// The path by which an interrupted put is listed.
std::string PathOfUpload(std::string_view path, std::string_view upload) {
  return fmt::format("{}{}{}{}{}", DirectoryPrefix(path), Storage::kPutPrefix,
                     PercentEncoded(upload), kOfUpload, DivideStoragePath(path).second);
}

struct Upload {
  std::string path, id;
};
// Nothing if the path is not one of PathOfUpload().
std::optional<Upload> UploadOfPath(std::string_view path) {
  const std::string name = DivideStoragePath(path).second;
  const size_t end = name.find(kOfUpload);
  if (!name.starts_with(Storage::kPutPrefix) || end == std::string::npos) return std::nullopt;
  const size_t first = Storage::kPutPrefix.size();
  return Upload{DirectoryPrefix(path) + name.substr(end + 1),
                PercentDecoded(name.substr(first, end - first))};
}

}  // namespace

Result<std::unique_ptr<Storage>> S3Storage::Create(const std::string& bucket,
                                                   const std::string& prefix,
                                                   const S3Options& options,
                                                   StorageMetrics* metrics, std::stop_token stop) {
  RETURN_IF_ERROR(CheckOptions(bucket, options));
  Result<std::unique_ptr<HttpPool>> http =
      HttpPool::Create({.connect_timeout = options.connect_timeout,
                        .timeout = options.timeout,
                        .ca_file = options.ca_file,
                        .expect_continue = true,
                        .stop = stop});
  if (!http.ok()) return http.status();
  Result<std::unique_ptr<S3Credentials>> credentials =
      options.access_key_file.empty() ? S3Credentials::FromChain()
                                      : S3Credentials::FromFile(options.access_key_file);
  if (!credentials.ok()) return credentials.status();
  return std::unique_ptr<Storage>(new S3Storage(bucket, prefix, options, metrics, std::move(stop),
                                                std::move(http).value(),
                                                std::move(credentials).value()));
}

S3Storage::S3Storage(std::string bucket, std::string prefix, const S3Options& options,
                     StorageMetrics* metrics, std::stop_token stop, std::unique_ptr<HttpPool> http,
                     std::unique_ptr<S3Credentials> credentials)
    : url_(fmt::format("s3://{}/{}", bucket, prefix)),
      bucket_(std::move(bucket)),
      prefix_(std::move(prefix)),
      options_(options),
      endpoint_(options.endpoint.empty()
                    ? fmt::format("https://s3.{}.amazonaws.com", options.region)
                    : options.endpoint),
      base_path_(options.path_style ? fmt::format("/{}/", PercentEncoded(bucket_)) : "/"),
      metrics_(metrics),
      stop_(std::move(stop)),
      http_(std::move(http)),
      credentials_(std::move(credentials)) {
  if (!options.path_style) endpoint_.insert(endpoint_.find("://") + 3, bucket_ + ".");
  host_ = HostHeader(endpoint_);
}

std::string S3Storage::RightOf(const Request& request) const {
  const std::string bucket = "arn:aws:s3:::" + bucket_;
  if (!request.path) return fmt::format("the right s3:{} on {}", request.action, bucket);
  std::string right = fmt::format("the right s3:{} on {}/{}/*", request.action, bucket, prefix_);
  // S3 tells only who may list that a file is absent.
  if (request.action == "GetObject") right += fmt::format(", and s3:ListBucket on {}", bucket);
  return right;
}

S3Storage::Reply S3Storage::AskOnce(const Request& request, const std::string& payload_hash) {
  const Result<S3Key> key = credentials_->Get();
  if (!key.ok()) return {{Kind::kFailed, StatusCode::kStop, key.status().message()}, {}};
  S3Call call{.method = std::string(NameOf(request.method)),
              .host = host_,
              .path = base_path_,
              .parameters = request.parameters,
              .headers = request.headers};
  if (request.path) call.path += PercentEncodedPath(fmt::format("{}/{}", prefix_, *request.path));
  const int64_t now_ms = SystemClock().NowMs() + clock_offset_ms_;
  SignS3Call(call, key.value(), options_.region, payload_hash, now_ms);
  std::string url = endpoint_ + call.path;
  if (!call.parameters.empty()) url += "?" + S3Query(call.parameters);
  Reply reply;
  reply.answer = http_->Send({.method = request.method,
                              .url = std::move(url),
                              .headers = std::move(call.headers),
                              .body = request.body});
  reply.verdict = JudgeS3Answer(reply.answer, RightOf(request), now_ms);
  return reply;
}

S3Storage::Reply S3Storage::Ask(const Request& request) {
  const std::string hash = Hex(request.body_hash.empty() ? Sha256("") : request.body_hash);
  Retries retries(options_.retries, stop_);
  bool may_be_done = false, has_set_clock = false;
  while (true) {
    if (retries.failed() > 0 && metrics_ != nullptr) metrics_->AddRetry(request.operation);
    Reply reply = AskOnce(request, hash);
    may_be_done |= reply.verdict.may_be_done || reply.answer.may_be_repeated;
    reply.verdict.may_be_done = may_be_done;
    const bool by_its_clock =
        reply.verdict.kind == Kind::kSkewed && reply.answer.date_ms > 0 && !has_set_clock;
    if (by_its_clock) {
      has_set_clock = true;
      clock_offset_ms_ = reply.answer.date_ms - SystemClock().NowMs();
      LogWarning(fmt::format("'{}': {}; until then, its requests are signed with the server's time",
                             url_, reply.verdict.text));
    } else if (reply.verdict.kind != Kind::kAgain) {
      return reply;
    }
    if (!retries.MayRepeat()) return reply;
    if (!by_its_clock) retries.Pause();
  }
}

Status S3Storage::Failure(const Reply& reply, std::string_view doing, std::string_view path) const {
  std::string message =
      fmt::format("cannot {} '{}/{}' on {}: {}", doing, url_, path, host_, reply.verdict.text);
  return reply.verdict.code == StatusCode::kStop ? Status::Stop(std::move(message))
                                                 : Status::Retry(std::move(message));
}

Result<std::optional<std::string>> S3Storage::Read(std::string_view path, ByteRange range) {
  RETURN_IF_ERROR(CheckStoragePath(path));
  if (range.next <= range.first) {  // HTTP has no empty range
    const Result<std::optional<FileInfo>> file = Stat(path);
    if (!file.ok()) return file.status();
    return file.value() ? std::optional<std::string>("") : std::nullopt;
  }
  const bool is_whole = range.first == 0 && range.next == INT64_MAX;
  Request request{.path = std::string(path), .action = "GetObject"};
  if (is_whole)
    request.headers["x-amz-checksum-mode"] = "ENABLED";
  else
    request.headers["range"] = range.next == INT64_MAX
                                   ? fmt::format("bytes={}-", range.first)
                                   : fmt::format("bytes={}-{}", range.first, range.next - 1);
  Reply reply = Ask(request);
  if (reply.verdict.kind == Kind::kAbsent) return std::optional<std::string>();
  if (reply.verdict.kind == Kind::kBeyond) return std::optional<std::string>("");
  if (!reply.ok()) return Failure(reply, "read", path);
  std::string& bytes = reply.answer.body;
  if (!is_whole && reply.answer.status == 200) {  // all of it, as servers give an empty file
    const auto size = static_cast<int64_t>(bytes.size());
    const int64_t first = std::min(range.first, size);
    bytes = bytes.substr(static_cast<size_t>(first),
                         static_cast<size_t>(std::min(range.next, size) - first));
  }
  const auto checksum = reply.answer.headers.find("x-amz-checksum-sha256");
  // That of a file in parts ends with "-N", and is none of the whole.
  if (is_whole && checksum != reply.answer.headers.end() &&
      checksum->second.find('-') == std::string::npos && checksum->second != Base64(Sha256(bytes)))
    return Status::Retry(fmt::format(
        "'{}/{}' on {} came with other bytes than its checksum says: the file or the way to it is "
        "damaged; look at this server's log",
        url_, path, host_));
  return std::optional<std::string>(std::move(bytes));
}

Result<PutOutcome> S3Storage::PutFiles(std::span<const NewFile> files, PutMode mode) {
  return PutEachAtOnce(files, mode, options_.uploads_max,
                       [&](const NewFile& file) { return PutOne(file.path, file.content, mode); });
}

// Servers know the condition of a PUT; not all do at the end of an upload in parts.
Result<PutOutcome> S3Storage::PutOne(std::string_view path, const Content& content, PutMode mode) {
  RETURN_IF_ERROR(CheckStoragePath(path));
  if (mode == PutMode::kReplace && content.size() > kPartBytesMin) return PutInParts(path, content);
  if (content.size() > kPutBytesMax)
    return Status::Stop(fmt::format("cannot put '{}/{}': it has {} bytes, and S3 takes 5 GiB", url_,
                                    path, content.size()));
  return PutAtOnce(path, content, mode);
}

void S3Storage::AddEncryption(std::map<std::string, std::string>& headers) const {
  if (options_.encryption == S3Encryption::kDefault) return;
  const bool by_kms = options_.encryption == S3Encryption::kKms;
  headers["x-amz-server-side-encryption"] = by_kms ? "aws:kms" : "AES256";
  if (!options_.kms_key.empty())
    headers["x-amz-server-side-encryption-aws-kms-key-id"] = options_.kms_key;
}

Result<PutOutcome> S3Storage::PutAtOnce(std::string_view path, const Content& content,
                                        PutMode mode) {
  const Result<std::string> hash = Sha256OfContent(content);
  if (!hash.ok()) return hash.status();
  Request request{.operation = StorageOperation::kPut,
                  .method = HttpMethod::kPut,
                  .path = std::string(path),
                  .headers = {{"x-amz-checksum-sha256", Base64(hash.value())}},
                  .body = content,
                  .body_hash = hash.value(),
                  .action = "PutObject"};
  if (mode == PutMode::kIfAbsent) request.headers["if-none-match"] = "*";
  AddEncryption(request.headers);
  const Reply reply = Ask(request);
  if (reply.ok()) return PutOutcome::kWritten;
  if (reply.verdict.kind == Kind::kTaken && mode == PutMode::kIfAbsent)
    return reply.verdict.may_be_done || content.size() == 0 ? ReadBack(path, content, mode)
                                                            : PutOutcome::kTaken;
  Status failure = Failure(reply, "put", path);
  if (!reply.verdict.may_be_done) return failure;
  return Status::Rebuild("it is unknown whether the file exists: " + failure.message());
}

Result<PutOutcome> S3Storage::PutInParts(std::string_view path, const Content& content) {
  Request request{.operation = StorageOperation::kPut,
                  .method = HttpMethod::kPost,
                  .path = std::string(path),
                  .parameters = {{"uploads", ""}},
                  .action = "PutObject"};
  AddEncryption(request.headers);
  const Reply reply = Ask(request);
  if (!reply.ok()) return Failure(reply, "put", path);
  const std::optional<std::string> upload = ReadS3UploadId(reply.answer.body);
  if (!upload)
    return Status::Retry(fmt::format(
        "cannot put '{}/{}' on {}: the answer is not one of S3; check that endpoint leads to it",
        url_, path, host_));
  const Result<std::vector<std::string>> etags = PutParts(path, *upload, content);
  Result<PutOutcome> put =
      etags.ok() ? Complete(path, *upload, etags.value(), content) : etags.status();
  // If this fails, too, the vacuum finds it.
  if (!put.ok()) (void)Abort(path, *upload);
  return put;
}

Result<std::vector<std::string>> S3Storage::PutParts(std::string_view path,
                                                     const std::string& upload,
                                                     const Content& content) {
  const int64_t part_bytes = std::max(kPartBytesMin, content.size() / kPartsMax + 1);
  std::vector<std::string> etags;
  std::string part;
  for (int64_t offset = 0; offset < content.size(); offset += part_bytes) {
    part.resize(static_cast<size_t>(std::min(part_bytes, content.size() - offset)));
    const Result<size_t> read = content.Read(offset, part);
    if (!read.ok()) return read.status();
    const Reply reply =
        Ask({.operation = StorageOperation::kPut,
             .method = HttpMethod::kPut,
             .path = std::string(path),
             .parameters = {{"partNumber", std::to_string(etags.size() + 1)}, {"uploadId", upload}},
             .body = part,
             .body_hash = Sha256(part),
             .action = "PutObject"});
    if (!reply.ok()) return Failure(reply, "put", path);
    const auto etag = reply.answer.headers.find("etag");
    etags.push_back(etag == reply.answer.headers.end() ? "" : etag->second);
  }
  return etags;
}

Result<PutOutcome> S3Storage::Complete(std::string_view path, const std::string& upload,
                                       const std::vector<std::string>& etags,
                                       const Content& content) {
  const std::string parts = S3PartList(etags);
  Reply reply = Ask({.operation = StorageOperation::kPut,
                     .method = HttpMethod::kPost,
                     .path = std::string(path),
                     .parameters = {{"uploadId", upload}},
                     .body = parts,
                     .body_hash = Sha256(parts),
                     .action = "PutObject"});
  if (reply.ok() && SaysCompleted(reply.answer.body)) return PutOutcome::kWritten;
  if (reply.ok()) {  // it begins to answer before it knows
    reply.answer.status = 500;
    reply.verdict = JudgeS3Answer(reply.answer, "", 0);
  }
  if (reply.verdict.kind == Kind::kNoUpload && reply.verdict.may_be_done)
    return ReadBack(path, content, PutMode::kReplace);
  Status failure = Failure(reply, "put", path);
  if (!reply.verdict.may_be_done) return failure;
  return Status::Rebuild("it is unknown whether the file exists: " + failure.message());
}

Status S3Storage::Abort(std::string_view path, const std::string& upload) {
  const Reply reply = Ask({.operation = StorageOperation::kDelete,
                           .method = HttpMethod::kDelete,
                           .path = std::string(path),
                           .parameters = {{"uploadId", upload}},
                           .action = "AbortMultipartUpload"});
  if (reply.ok() || reply.verdict.kind == Kind::kNoUpload) return Status::Ok();
  return Failure(reply, "abort the upload of", path);
}

Result<PutOutcome> S3Storage::ReadBack(std::string_view path, const Content& content,
                                       PutMode mode) {
  const Result<std::optional<bool>> ours = HasContent(*this, path, content);
  if (!ours.ok())
    return Status::Rebuild("it is unknown whether the file exists: " + ours.status().message());
  if (!ours.value())
    return Status::Retry(fmt::format("cannot put '{}/{}': somebody deletes it", url_, path));
  if (*ours.value()) return PutOutcome::kWritten;
  if (mode == PutMode::kIfAbsent) return PutOutcome::kTaken;
  return Status::Rebuild(
      fmt::format("'{}/{}' has other bytes than were put: somebody else puts it, too", url_, path));
}

Result<std::vector<S3Object>> S3Storage::ListAll(Request request, std::string_view directory) {
  request.operation = StorageOperation::kList;
  request.parameters["encoding-type"] = "url";
  request.parameters["prefix"] =
      directory.empty() ? prefix_ + "/" : fmt::format("{}/{}/", prefix_, directory);
  std::vector<S3Object> all;
  while (true) {
    const Reply reply = Ask(request);
    if (!reply.ok()) return Failure(reply, "list", directory);
    Result<S3Page> page = ReadS3Page(reply.answer.body);
    if (!page.ok())
      return Status::Retry(fmt::format("cannot list '{}/{}' on {}: {}", url_, directory, host_,
                                       page.status().message()));
    std::ranges::move(page.value().objects, std::back_inserter(all));
    if (page.value().next.empty()) return all;
    bool goes_on = false;
    for (auto& [name, value] : page.value().next)
      if (std::string& was = request.parameters[name]; was != value) {
        was = value;
        goes_on = true;
      }
    if (!goes_on)
      return Status::Retry(
          fmt::format("cannot list '{}/{}' on {}: its pages repeat", url_, directory, host_));
  }
}

Result<std::vector<FileInfo>> S3Storage::ListFiles(std::string_view directory) {
  Result<std::vector<S3Object>> objects =
      ListAll({.parameters = {{"list-type", "2"}}, .action = "ListBucket"}, directory);
  if (!objects.ok()) return objects.status();
  std::vector<FileInfo> files;
  for (const S3Object& object : objects.value()) {
    std::string path = object.key.substr(std::min(prefix_.size() + 1, object.key.size()));
    // What other tools put to mark a folder has no path here.
    if (!CheckStoragePath(path).ok()) continue;
    files.push_back({std::move(path), object.size_bytes, object.modified_ms});
  }
  return files;
}

Result<std::vector<FileInfo>> S3Storage::ListUploads(std::string_view directory) {
  Result<std::vector<S3Object>> uploads =
      ListAll({.parameters = {{"uploads", ""}}, .action = "ListBucketMultipartUploads"}, directory);
  if (!uploads.ok()) return uploads.status();
  std::vector<FileInfo> files;
  for (const S3Object& upload : uploads.value()) {
    const std::string path = upload.key.substr(std::min(prefix_.size() + 1, upload.key.size()));
    if (!CheckStoragePath(path).ok()) continue;
    files.push_back({PathOfUpload(path, upload.upload_id), 0, upload.modified_ms});
  }
  return files;
}

Result<std::vector<FileInfo>> S3Storage::List(std::string_view directory) {
  if (!directory.empty()) RETURN_IF_ERROR(CheckStoragePath(directory));
  Result<std::vector<FileInfo>> files = std::vector<FileInfo>();
  Result<std::vector<FileInfo>> uploads = std::vector<FileInfo>();
  RETURN_IF_ERROR(ForEachAtOnce(2, 2, [&](size_t i) {
    Result<std::vector<FileInfo>>& list = i == 0 ? files : uploads;
    list = i == 0 ? ListFiles(directory) : ListUploads(directory);
    return list.status();
  }));
  std::ranges::move(uploads.value(), std::back_inserter(files.value()));
  std::ranges::sort(files.value(), {}, &FileInfo::path);
  return files;
}

// By a list: it has the same time as List(), and says whether it is the bucket that is missing.
Result<std::optional<FileInfo>> S3Storage::Stat(std::string_view path) {
  RETURN_IF_ERROR(CheckStoragePath(path));
  const std::string key = fmt::format("{}/{}", prefix_, path);
  const Reply reply = Ask({.operation = StorageOperation::kStat,
                           .parameters = {{"list-type", "2"},
                                          {"encoding-type", "url"},
                                          {"prefix", key},
                                          {"max-keys", "1"}},
                           .action = "ListBucket"});
  if (!reply.ok()) return Failure(reply, "look at", path);
  const Result<S3Page> page = ReadS3Page(reply.answer.body);
  if (!page.ok())
    return Status::Retry(fmt::format("cannot look at '{}/{}' on {}: {}", url_, path, host_,
                                     page.status().message()));
  // The key itself comes before all that begin with it.
  if (page.value().objects.empty() || page.value().objects[0].key != key)
    return std::optional<FileInfo>();
  const S3Object& object = page.value().objects[0];
  return std::optional<FileInfo>({std::string(path), object.size_bytes, object.modified_ms});
}

Status S3Storage::Delete(std::string_view path) {
  RETURN_IF_ERROR(CheckStoragePath(path));
  if (const std::optional<Upload> upload = UploadOfPath(path))
    return Abort(upload->path, upload->id);
  const Reply reply = Ask({.operation = StorageOperation::kDelete,
                           .method = HttpMethod::kDelete,
                           .path = std::string(path),
                           .action = "DeleteObject"});
  if (reply.ok() || reply.verdict.kind == Kind::kAbsent) return Status::Ok();
  return Failure(reply, "delete", path);
}

}  // namespace sightline
