#include "cli/lake_client.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <filesystem>
#include <optional>
#include <utility>

#include "camera/curl_client.h"
#include "config/data_folder.h"
#include "connectors/lake/locations_table.h"
#include "connectors/lake/log.h"
#include "connectors/lake/tables.h"
#include "connectors/storage/local_storage.h"
#include "query/local_queries.h"
#include "server/api.h"

namespace sightline {
namespace {

constexpr CurlClientOptions kPatience{.timeout = Millis{60'000}, .answer_bytes_max = 256 << 20};

// Returns the "detail" of application/problem+json. Other bodies are returned unchanged.
std::string Detail(const std::string& body) {
  boost::system::error_code error;
  const boost::json::value problem = boost::json::parse(body, error);
  if (!error && problem.is_object())
    if (const auto* detail = problem.get_object().if_contains("detail"))
      if (detail->is_string()) return std::string(detail->get_string());
  return body;
}

// Turns the header X-Incomplete (docs/PROTOCOL.md) into sentences.
std::vector<std::string> Sentences(const std::string& header) {
  boost::system::error_code error;
  const boost::json::value list = boost::json::parse(header, error);
  if (error || !list.is_array()) return {"the answer is not complete: " + header};
  std::vector<std::string> sentences;
  const auto text = [](const boost::json::object& from, std::string_view name) {
    const boost::json::value* const value = from.if_contains(name);
    if (value == nullptr) return std::string("?");
    return value->is_string() ? std::string(value->get_string()) : boost::json::serialize(*value);
  };
  for (const boost::json::value& value : list.get_array()) {
    if (!value.is_object()) continue;
    const boost::json::object& one = value.get_object();
    sentences.push_back(
        one.contains("more")
            ? fmt::format("{} more partitions are not counted: /healthz names them",
                          text(one, "more"))
            : fmt::format("the answer lacks the offsets [{}, {}) of partition {} of '{}', which is "
                          "not counted: {}",
                          text(one, "first"), text(one, "next"), text(one, "partition"),
                          text(one, "source"), text(one, "reason")));
  }
  return sentences;
}

}  // namespace

Result<std::unique_ptr<LakeClient>> LakeClient::Open(const LakeClientOptions& options,
                                                     const std::function<void(std::string)>& note) {
  std::unique_ptr<LakeClient> client(new LakeClient);
  // With --url, no folder is needed.
  const Result<LakePlace> found =
      options.url.empty() || !options.place.lake.empty() ? FindLake(options.place) : LakePlace();
  if (!found.ok()) return found.status();
  const LakePlace& place = found.value();
  if (place.files_only) {
    RETURN_IF_ERROR(client->OpenFiles(place));
    return client;
  }
  const std::optional<ServerAddress> owner = DataFolder(place.data).ReadAddress();
  if (!options.url.empty() || owner) {
    client->url_ = options.url.empty() ? owner->url : options.url;
    while (client->url_.ends_with('/')) client->url_.pop_back();
    auto http = CreateCurlClient(kPatience);
    if (!http.ok()) return http.status();
    client->http_ = std::move(http).value();
    const HttpResponse health = client->http_->Get(client->url_ + "/healthz");
    if (!options.url.empty()) {
      if (health.status != 0) return client;
      return Status::Stop(fmt::format("'{}' does not answer: {}", client->url_, health.error));
    }
    // After a crash another server may have taken the address. Its answers would be about another
    // data folder.
    if (health.status != 0 && IsOf(*owner, health.body)) return client;
    note(fmt::format(
        "the server of '{}' does not answer ({}): reading the lake's files, which hold what it had "
        "committed",
        place.data,
        health.status == 0 ? health.error : "another program has the address " + client->url_));
  }
  RETURN_IF_ERROR(client->OpenFiles(place));
  return client;
}

Status LakeClient::OpenFiles(const LakePlace& place) {
  url_.clear();
  http_.reset();
  std::error_code error;
  const std::optional<std::string> folder = LocalFolder(place.lake);
  if (folder && !std::filesystem::is_directory(*folder, error))
    return Status::Stop(
        fmt::format("there is no lake in '{}': give --data (a data folder of `sightline up`), "
                    "--config (its configuration file), --lake or --url",
                    place.lake));
  // A command has no folder of its own, so copies are temporary.
  auto files = LakeReader::Open({.lake = place.lake,
                                 .storage = place.storage,
                                 .cache = {.folder = {}, .bytes_max = place.cache_bytes_max},
                                 .open_queries = OpenLocalQueries({})});
  if (!files.ok()) return files.status();
  files_ = std::move(files).value();
  return Status::Ok();
}

Status LakeClient::Refresh() { return files_ == nullptr ? Status::Ok() : files_->Refresh(); }

Result<std::string> LakeClient::Get(std::string_view path, const std::string& query) {
  if (http_ != nullptr) return Explain(http_->Get(fmt::format("{}{}?{}", url_, path, query)));
  const ApiCall call{.route = RouteOf(path), .query = query, .body = {}, .scope = Scope::All()};
  const Response response = AnswerFromLake(call, files_->queries(), clock_.NowMs());
  if (response.status != 200) return Status::Stop(Detail(response.body));
  return BodyOf(response);
}

Status LakeClient::Query(const std::string& sql, ResultFormat format, int64_t rows_max,
                         const ResultSink& out) {
  if (http_ == nullptr) {
    const AnswerEnd end = files_->queries().Answer(
        {.request = SqlRequest{sql}, .scope = Scope::All(), .format = format},
        {.time = Millis{INT32_MAX}, .rows_max = rows_max}, {.append = out, .clear = nullptr});
    truncated_ = end.truncated;
    return end.status;
  }
  const boost::json::object body = {{"sql", sql}, {"format", NameOf(format)}, {"limit", rows_max}};
  HttpResponse response = http_->Post(url_ + "/v1/query", {"Content-Type: application/json"},
                                      boost::json::serialize(body));
  truncated_ = response.truncated;
  Result<std::string> answer = Explain(std::move(response));
  return answer.ok() ? out(answer.value()) : answer.status();
}

Result<std::string> LakeClient::Explain(HttpResponse response) {
  missing_ =
      response.incomplete.empty() ? std::vector<std::string>() : Sentences(response.incomplete);
  if (response.status == 0)
    return Status::Stop(fmt::format("'{}' does not answer: {}", url_, response.error));
  if (response.status != 200) return Status::Stop(Detail(response.body));
  return std::move(response.body);
}

std::string UrlEncoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || std::string_view("-._~").find(c) != std::string_view::npos) {
      encoded += c;
    } else {
      encoded += fmt::format("%{:02X}", byte);
    }
  }
  return encoded;
}

}  // namespace sightline
