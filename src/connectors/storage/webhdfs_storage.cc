#include "connectors/storage/webhdfs_storage.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include "connectors/storage/at_once.h"
#include "connectors/storage/read_back.h"
#include "connectors/storage/retries.h"
#include "connectors/storage/storage_path.h"

namespace sightline {
namespace {

using Kind = HdfsVerdict::Kind;

// More temporary files than this are left to the vacuum.
constexpr size_t kLeftMax = 1'000;
// Of these, a put deletes so many.
constexpr size_t kDiscardedMax = 16;
constexpr size_t kDirectoriesMax = 10'000;
constexpr size_t kListsAtOnce = 8;

std::string Joined(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  return fmt::format("{}/{}", directory, name);
}

std::string HostWithoutPort(const std::string& host) {
  return host.substr(0, host.rfind(':') == std::string::npos ? host.size() : host.rfind(':'));
}

bool IsMode(std::string_view mode) {
  return mode.size() <= 4 && mode.find_first_not_of("01234567") == std::string_view::npos;
}

StorageOperation OperationOf(std::string_view operation) {
  if (operation == "OPEN") return StorageOperation::kRead;
  if (operation == "LISTSTATUS") return StorageOperation::kList;
  if (operation == "GETFILESTATUS") return StorageOperation::kStat;
  if (operation == "DELETE") return StorageOperation::kDelete;
  return StorageOperation::kPut;  // CREATE, RENAME, MKDIRS
}

std::string Permission(const std::string& mode) {
  return mode.empty() ? "" : "&permission=" + mode;
}

Status CheckOptions(const std::string& name, const HdfsOptions& options) {
  const auto refuse = [&name](std::string_view why) {
    return Status::Stop(fmt::format("[hdfs.{}] is not valid: {}", name, why));
  };
  if (options.namenodes.empty())
    return refuse(R"(set namenodes = ["https://HOST:9871", ...], where WebHDFS is)");
  for (const std::string& url : options.namenodes)
    if (!url.starts_with("http://") && !url.starts_with("https://"))
      return refuse(fmt::format("namenodes has '{}': it must begin with http:// or https://", url));
  if (!options.base_path.starts_with('/') || options.base_path.ends_with('/'))
    return refuse("base_path must begin with '/' and not end with it");
  for (const std::string& mode : {options.directory_mode, options.file_mode})
    if (!IsMode(mode))
      return refuse(fmt::format("'{}' is not a mode: write it in octal, as 770", mode));
  return Status::Ok();
}

// The first line of the file; nothing without one.
Result<std::string> ReadToken(const std::string& path) {
  std::ifstream file(path);
  std::string token;
  if (!std::getline(file, token) || token.empty())
    return Status::Stop(
        fmt::format("token_file '{}' has no delegation token: put one into it", path));
  return token;
}

}  // namespace

Result<std::unique_ptr<Storage>> WebHdfsStorage::Create(const std::string& name,
                                                        const std::string& root,
                                                        const HdfsOptions& options,
                                                        StorageMetrics* metrics,
                                                        std::stop_token stop) {
  RETURN_IF_ERROR(CheckOptions(name, options));
  Result<std::unique_ptr<HttpPool>> http =
      HttpPool::Create({.connect_timeout = options.connect_timeout,
                        .timeout = options.timeout,
                        .ca_file = options.ca_file,
                        .stop = stop});
  if (!http.ok()) return http.status();
  return std::unique_ptr<Storage>(new WebHdfsStorage(fmt::format("hdfs://{}{}", name, root), root,
                                                     options, metrics, std::move(stop),
                                                     std::move(http).value()));
}

WebHdfsStorage::WebHdfsStorage(std::string url, std::string root, const HdfsOptions& options,
                               StorageMetrics* metrics, std::stop_token stop,
                               std::unique_ptr<HttpPool> http)
    : url_(std::move(url)),
      root_(std::move(root)),
      options_(options),
      metrics_(metrics),
      stop_(std::move(stop)),
      http_(std::move(http)) {}

std::string WebHdfsStorage::UrlOf(const Request& request, size_t namenode) const {
  std::string_view server = options_.namenodes[namenode];
  while (server.ends_with('/')) server.remove_suffix(1);
  const std::string path = request.path.empty() ? root_ : Joined(root_, request.path);
  std::string url = fmt::format("{}{}{}?op={}{}", server, options_.base_path,
                                PercentEncodedPath(path), request.operation, request.parameters);
  if (options_.token_file.empty() && !options_.user.empty())
    url += "&user.name=" + PercentEncoded(options_.user);
  return url;
}

WebHdfsStorage::Reply WebHdfsStorage::AskOnce(const Request& request,
                                              const std::string& excluded_datanodes) {
  std::string url = UrlOf(request, namenode_);
  Reply reply{.host = HostOf(url)};
  if (!excluded_datanodes.empty()) url += "&excludedatanodes=" + PercentEncoded(excluded_datanodes);
  if (!options_.token_file.empty()) {
    const Result<std::string> token = ReadToken(options_.token_file);
    if (!token.ok()) {
      reply.verdict = {Kind::kFailed, StatusCode::kStop, token.status().message()};
      return reply;
    }
    url += "&delegation=" + PercentEncoded(token.value());
  }
  HttpAnswer answer = http_->Send({.method = request.method, .url = url});
  if (answer.status == 307 && !answer.location.empty()) {
    // The address that it redirects to has the login, and the body has the data.
    if (url.starts_with("https://") && !answer.location.starts_with("https://")) {
      reply.verdict = {Kind::kFailed, StatusCode::kStop,
                       fmt::format("it redirects to http://{}, where everybody can read what is "
                                   "sent; switch TLS on there with dfs.http.policy",
                                   HostOf(answer.location))};
      return reply;
    }
    reply.host = HostOf(answer.location);
    reply.is_from_namenode = false;
    answer = http_->Send({.method = request.method, .url = answer.location, .body = request.body});
  } else if (request.operation == "CREATE" && (answer.status == 200 || answer.status == 201)) {
    reply.verdict = {Kind::kFailed, StatusCode::kStop,
                     fmt::format("HTTP {} and no redirect, so nothing was written; check that "
                                 "namenodes and base_path lead to WebHDFS",
                                 answer.status)};
    return reply;
  }
  reply.verdict = JudgeHdfsAnswer(answer);
  reply.body = std::move(answer.body);
  return reply;
}

WebHdfsStorage::Reply WebHdfsStorage::Ask(const std::function<Request()>& next) {
  Retries retries(options_.retries, stop_);
  const size_t count = options_.namenodes.size();
  std::vector<std::string> excluded;  // the hosts of DataNodes that failed
  bool may_be_done = false;
  while (true) {
    size_t namenode = namenode_;
    const Request request = next();
    if (retries.failed() > 0 && metrics_ != nullptr)
      metrics_->AddRetry(OperationOf(request.operation));
    Reply reply = AskOnce(request, fmt::format("{}", fmt::join(excluded, ",")));
    may_be_done |= reply.verdict.may_be_done;
    reply.verdict.may_be_done = may_be_done;
    if (reply.verdict.kind != Kind::kAgain || !retries.MayRepeat()) return reply;
    if (reply.is_from_namenode) namenode_.compare_exchange_strong(namenode, (namenode + 1) % count);
    // Another DataNode at the next attempt; any when there is no other.
    std::string host = HostWithoutPort(reply.host);
    if (reply.is_from_namenode || std::ranges::count(excluded, host) > 0)
      excluded.clear();
    else
      excluded.push_back(std::move(host));
    // The other NameNode is asked at once.
    if (static_cast<size_t>(retries.failed()) % count == 0) retries.Pause();
  }
}

WebHdfsStorage::Reply WebHdfsStorage::Ask(const Request& request) {
  return Ask([&request] { return request; });
}

Status WebHdfsStorage::Failure(const Reply& reply, std::string_view doing,
                               std::string_view path) const {
  std::string message =
      fmt::format("cannot {} '{}/{}' on {}: {}", doing, url_, path, reply.host, reply.verdict.text);
  return reply.verdict.code == StatusCode::kStop ? Status::Stop(std::move(message))
                                                 : Status::Retry(std::move(message));
}

Result<std::optional<std::string>> WebHdfsStorage::Read(std::string_view path, ByteRange range) {
  RETURN_IF_ERROR(CheckStoragePath(path));
  if (range.next <= range.first) {  // the server would take a length of 0 for none
    const Result<std::optional<FileInfo>> file = Stat(path);
    if (!file.ok()) return file.status();
    return file.value() ? std::optional<std::string>("") : std::nullopt;
  }
  Request request{.operation = "OPEN", .path = std::string(path)};
  if (range.first > 0) request.parameters += fmt::format("&offset={}", range.first);
  if (range.next != INT64_MAX)
    request.parameters += fmt::format("&length={}", range.next - range.first);
  Reply reply = Ask(request);
  if (reply.ok()) return std::optional<std::string>(std::move(reply.body));
  if (reply.verdict.kind == Kind::kAbsent) return std::optional<std::string>();
  if (reply.verdict.kind == Kind::kBeyond) return std::optional<std::string>("");
  return Failure(reply, "read", path);
}

Result<PutOutcome> WebHdfsStorage::PutFiles(std::span<const NewFile> files, PutMode mode) {
  return PutEachAtOnce(files, mode, options_.uploads_max,
                       [&](const NewFile& file) { return PutOne(file.path, file.content, mode); });
}

Result<PutOutcome> WebHdfsStorage::PutOne(std::string_view path, const Content& content,
                                          PutMode mode) {
  RETURN_IF_ERROR(CheckStoragePath(path));
  RETURN_IF_ERROR(MakeDirectory(DivideStoragePath(path).first));
  const Result<std::string> temporary = PutTemporary(path, content);
  DiscardLeft();
  if (!temporary.ok()) return temporary.status();
  return Rename(temporary.value(), path, content, mode);
}

Status WebHdfsStorage::MakeDirectory(std::string_view path) {
  if (options_.directory_mode.empty()) return Status::Ok();  // CREATE makes what is missing
  const std::string key(path);
  {
    const std::lock_guard lock(mutex_);
    if (directories_.contains(key)) return Status::Ok();
  }
  const Reply reply = Ask({.method = HttpMethod::kPut,
                           .operation = "MKDIRS",
                           .path = key,
                           .parameters = Permission(options_.directory_mode)});
  if (!reply.ok()) return Failure(reply, "make the directory", path);
  const std::lock_guard lock(mutex_);
  if (directories_.size() >= kDirectoriesMax) directories_.clear();
  directories_.insert(key);
  return Status::Ok();
}

Result<std::string> WebHdfsStorage::PutTemporary(std::string_view target, const Content& content) {
  const std::string_view directory = DivideStoragePath(target).first;
  std::string path;
  const Reply reply = Ask([&] {
    if (!path.empty()) Leave(path);
    path = Joined(directory, UniquePutName());
    return Request{.method = HttpMethod::kPut,
                   .operation = "CREATE",
                   .path = path,
                   .parameters = "&overwrite=false" + Permission(options_.file_mode),
                   .body = content};
  });
  if (reply.ok()) return path;
  Leave(path);
  return Failure(reply, "put", target);
}

Result<PutOutcome> WebHdfsStorage::Rename(const std::string& temporary, std::string_view path,
                                          const Content& content, PutMode mode) {
  const std::string target = PercentEncoded(Joined(root_, path));
  const Reply reply =
      Ask({.method = HttpMethod::kPut,
           .operation = "RENAME",
           .path = temporary,
           .parameters = fmt::format("&destination={}&renameoptions={}", target,
                                     mode == PutMode::kIfAbsent ? "NONE" : "OVERWRITE")});
  if (reply.ok() && SaysTrue(reply.body)) return PutOutcome::kWritten;
  if (reply.verdict.kind == Kind::kAbsent) return ReadBack(path, content, mode);
  // While the temporary file is there, no RENAME of it has taken effect, nor can one afterwards.
  const bool had_no_effect = Discard(temporary);
  if (reply.verdict.kind == Kind::kTaken && mode == PutMode::kIfAbsent) return PutOutcome::kTaken;
  if (reply.ok()) {  // a gateway that does not know the options, and refuses in its own way
    if (!had_no_effect) return ReadBack(path, content, mode);
    if (mode == PutMode::kIfAbsent) return PutOutcome::kTaken;
    return Status::Stop(fmt::format(
        "cannot put '{}/{}' on {}: this server does not know renameoptions=OVERWRITE; name the "
        "NameNodes themselves in namenodes",
        url_, path, reply.host));
  }
  Status failure = Failure(reply, "put", path);
  if (had_no_effect || !reply.verdict.may_be_done) return failure;
  return Status::Rebuild("it is unknown whether the file exists: " + failure.message());
}

Result<PutOutcome> WebHdfsStorage::ReadBack(std::string_view path, const Content& content,
                                            PutMode mode) {
  const Result<std::optional<bool>> ours = HasContent(*this, path, content);
  if (!ours.ok())
    return Status::Rebuild("it is unknown whether the file exists: " + ours.status().message());
  if (!ours.value())
    return Status::Retry(fmt::format(
        "cannot put '{}/{}': its temporary file has vanished, perhaps with its directory", url_,
        path));
  if (*ours.value()) {
    const Status lasts = Confirm(path);
    if (!lasts.ok()) return Status::Rebuild(lasts.message());
    return PutOutcome::kWritten;
  }
  if (mode == PutMode::kIfAbsent) return PutOutcome::kTaken;
  return Status::Rebuild(
      fmt::format("'{}/{}' has other bytes than were put: somebody else puts it, too", url_, path));
}

bool WebHdfsStorage::Discard(const std::string& temporary) {
  const Reply reply =
      AskOnce({.method = HttpMethod::kDelete, .operation = "DELETE", .path = temporary}, "");
  if (!reply.ok()) Leave(temporary);
  return reply.ok() && SaysTrue(reply.body);
}

void WebHdfsStorage::Leave(const std::string& temporary) {
  const std::lock_guard lock(mutex_);
  if (left_.size() < kLeftMax) left_.push_back(temporary);
}

void WebHdfsStorage::DiscardLeft() {
  std::vector<std::string> some;
  {
    const std::lock_guard lock(mutex_);
    const size_t count = std::min(left_.size(), kDiscardedMax);
    some.assign(left_.end() - static_cast<std::ptrdiff_t>(count), left_.end());
    left_.resize(left_.size() - count);
  }
  bool answers = true;
  for (const std::string& temporary : some) {
    const Request request{.method = HttpMethod::kDelete, .operation = "DELETE", .path = temporary};
    answers = answers && AskOnce(request, "").ok();
    if (!answers) Leave(temporary);
  }
}

// Level by level: WebHDFS lists one directory at a time.
Result<std::vector<FileInfo>> WebHdfsStorage::List(std::string_view directory) {
  if (!directory.empty()) RETURN_IF_ERROR(CheckStoragePath(directory));
  std::vector<FileInfo> files;
  std::vector<std::string> level = {std::string(directory)};
  while (!level.empty()) {
    std::mutex mutex;
    std::vector<std::string> below;
    const auto list = [&](size_t i) -> Status {
      const Reply reply = Ask({.operation = "LISTSTATUS", .path = level[i]});
      if (reply.verdict.kind == Kind::kAbsent) return Status::Ok();
      if (!reply.ok()) return Failure(reply, "list", level[i]);
      const Result<std::vector<HdfsFile>> names = ReadHdfsFiles(reply.body);
      if (!names.ok()) return names.status();
      const std::lock_guard lock(mutex);
      for (const HdfsFile& file : names.value()) {
        if (file.name.empty())
          return Status::Stop(fmt::format("cannot list '{}/{}': it is a file", url_, level[i]));
        std::string path = Joined(level[i], file.name);
        if (file.is_directory)
          below.push_back(std::move(path));
        else if (file.is_file)
          files.push_back({std::move(path), file.size_bytes, file.modified_ms});
      }
      return Status::Ok();
    };
    RETURN_IF_ERROR(ForEachAtOnce(level.size(), kListsAtOnce, list));
    level = std::move(below);
  }
  std::sort(files.begin(), files.end(),
            [](const FileInfo& a, const FileInfo& b) { return a.path < b.path; });
  return files;
}

Result<std::optional<FileInfo>> WebHdfsStorage::Stat(std::string_view path) {
  RETURN_IF_ERROR(CheckStoragePath(path));
  const Reply reply = Ask({.operation = "GETFILESTATUS", .path = std::string(path)});
  if (reply.verdict.kind == Kind::kAbsent) return std::optional<FileInfo>();
  if (!reply.ok()) return Failure(reply, "look at", path);
  const Result<std::vector<HdfsFile>> files = ReadHdfsFiles(reply.body);
  if (!files.ok()) return files.status();
  if (files.value().empty() || !files.value()[0].is_file) return std::optional<FileInfo>();
  const HdfsFile& file = files.value()[0];
  return std::optional<FileInfo>({std::string(path), file.size_bytes, file.modified_ms});
}

Status WebHdfsStorage::Delete(std::string_view path) {
  RETURN_IF_ERROR(CheckStoragePath(path));
  const Reply reply =
      Ask({.method = HttpMethod::kDelete, .operation = "DELETE", .path = std::string(path)});
  if (reply.ok() || reply.verdict.kind == Kind::kAbsent) return Status::Ok();
  return Failure(reply, "delete", path);
}

}  // namespace sightline
