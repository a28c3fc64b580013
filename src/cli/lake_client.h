// LakeAsker: asks the server that owns a data folder or, where none runs, the lake's files.
//
// A server's answers hold what is pending too; the files' are those of the newest commits. Both go
// through the same code (server/api.h). For commands; one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "camera/http_client.h"
#include "cli/lake_place.h"
#include "history/lake_reader.h"
#include "query/query_engine.h"
#include "query/write_result.h"

namespace sightline {

struct LakeAskerOptions {
  LakePlaceOptions place;
  std::string url;  // of a server; empty: the one of the data folder
};

class LakeAsker {
 public:
  // `note` is told when files are read although a server was expected.
  static Result<std::unique_ptr<LakeAsker>> Open(const LakeAskerOptions& options,
                                                 const std::function<void(std::string)>& note);

  // Where files are read: brings what is asked to their newest version. Costs the new commits.
  Status Refresh();

  // GET `path`?`query` of docs/PROTOCOL.md; its body.
  Result<std::string> Get(std::string_view path, const std::string& query);
  // SQL; the result goes to `out` piece by piece.
  Status Query(const std::string& sql, ResultFormat format, int64_t rows_max, const ByteSink& out);
  // Whether the last answer was cut at rows_max.
  bool truncated() const { return truncated_; }

 private:
  Status OpenFiles(const std::string& lake);
  Result<std::string> Explain(HttpResponse response) const;

  SystemClock clock_;
  std::string url_;                     // empty: files are read
  std::unique_ptr<HttpClient> client_;  // with url_
  // Without.
  std::unique_ptr<LakeReader> files_;
  bool truncated_ = false;
};

// `text` in a URL's query (RFC 3986: all but unreserved characters are escaped).
std::string UrlEncoded(std::string_view text);

}  // namespace sightline
