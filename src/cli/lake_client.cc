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
#include "history/location_rows.h"
#include "server/api.h"

namespace sightline {
namespace {

constexpr CurlClientOptions kPatience{.timeout = Millis{60'000}, .answer_bytes_max = 256 << 20};

std::string_view NameOf(ResultFormat format) {
  switch (format) {
    case ResultFormat::kTable:
      return "table";
    case ResultFormat::kCsv:
      return "csv";
    case ResultFormat::kJson:
      return "json";
    case ResultFormat::kNdjson:
      return "ndjson";
    case ResultFormat::kParquet:
      return "parquet";
  }
  return "";
}

// The "detail" of application/problem+json, or the text as it is.
std::string Detail(const std::string& body) {
  boost::system::error_code error;
  const boost::json::value problem = boost::json::parse(body, error);
  if (!error && problem.is_object())
    if (const auto* detail = problem.get_object().if_contains("detail"))
      if (detail->is_string()) return std::string(detail->get_string());
  return body;
}

}  // namespace

Result<std::unique_ptr<LakeAsker>> LakeAsker::Open(const LakeAskerOptions& options,
                                                   const std::function<void(std::string)>& note) {
  std::unique_ptr<LakeAsker> asker(new LakeAsker);
  // Whoever names a server needs no folder.
  const Result<LakePlace> found =
      options.url.empty() || !options.place.lake.empty() ? FindLake(options.place) : LakePlace();
  if (!found.ok()) return found.status();
  const LakePlace& place = found.value();
  if (place.files_only) {
    RETURN_IF_ERROR(asker->OpenFiles(place.lake));
    return asker;
  }
  const std::optional<ServerAddress> owner = ReadAddressFile(place.data);
  if (!options.url.empty() || owner) {
    asker->url_ = options.url.empty() ? owner->url : options.url;
    while (asker->url_.ends_with('/')) asker->url_.pop_back();
    auto client = CreateCurlClient(kPatience);
    if (!client.ok()) return client.status();
    asker->client_ = std::move(client).value();
    const HttpResponse health = asker->client_->Get(asker->url_ + "/healthz");
    if (!options.url.empty()) {
      if (health.status != 0) return asker;
      return Status::Stop(fmt::format("'{}' does not answer: {}", asker->url_, health.error));
    }
    // After a crash another server may have the address: its answers are of another folder.
    if (health.status != 0 && IsOf(*owner, health.body)) return asker;
    note(fmt::format(
        "the server of '{}' does not answer ({}): reading the lake's files, which have what it had "
        "committed",
        place.data,
        health.status == 0 ? health.error : "another program has the address " + asker->url_));
  }
  RETURN_IF_ERROR(asker->OpenFiles(place.lake));
  return asker;
}

Status LakeAsker::OpenFiles(const std::string& lake) {
  url_.clear();
  client_.reset();
  std::error_code error;
  if (!std::filesystem::is_directory(lake, error))
    return Status::Stop(
        fmt::format("there is no lake in '{}': give --data (a data folder of `sightline up`), "
                    "--config (its options), --lake or "
                    "--url",
                    lake));
  Result<std::unique_ptr<LakeReader>> files = LakeReader::Open(lake, {});
  if (!files.ok()) return files.status();
  files_ = std::move(files).value();
  return Status::Ok();
}

Status LakeAsker::Refresh() { return files_ == nullptr ? Status::Ok() : files_->Refresh(); }

Result<std::string> LakeAsker::Get(std::string_view path, const std::string& query) {
  if (client_ != nullptr) return Explain(client_->Get(fmt::format("{}{}?{}", url_, path, query)));
  const ApiCall call{.route = RouteOf(path), .query = query, .body = {}, .scope = Scope::All()};
  Response response = AnswerFromLake(call, files_->query(), clock_.NowMs());
  if (response.status != 200) return Status::Stop(Detail(response.body));
  return std::move(response.body);
}

Status LakeAsker::Query(const std::string& sql, ResultFormat format, int64_t rows_max,
                        const ByteSink& out) {
  if (client_ == nullptr) {
    Result<ResultTable> table =
        files_->query().Run(sql, Scope::All(), {.time = Millis{INT32_MAX}, .rows_max = rows_max});
    if (!table.ok()) return table.status();
    const Status written = WriteResult(table.value(), format, out);
    truncated_ = table.value().truncated();
    return written;
  }
  const boost::json::object body = {{"sql", sql}, {"format", NameOf(format)}, {"limit", rows_max}};
  HttpResponse response = client_->Post(url_ + "/v1/query", {"Content-Type: application/json"},
                                        boost::json::serialize(body));
  truncated_ = response.truncated;
  Result<std::string> answer = Explain(std::move(response));
  return answer.ok() ? out(answer.value()) : answer.status();
}

Result<std::string> LakeAsker::Explain(HttpResponse response) const {
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
