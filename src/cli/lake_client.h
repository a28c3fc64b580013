// LakeClient asks the server that owns a data folder; where none runs, it reads the lake's files.
//
// A server's answers include pending rows. Answers from files end with the newest commits. Both
// come from the same code (server/api.h). The commands use it, on one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "camera/http_client.h"
#include "cli/lake_place.h"
#include "history/lake_reader.h"
#include "query/query_service.h"
#include "query/write_result.h"

namespace sightline {

struct LakeClientOptions {
  LakePlaceOptions place;
  std::string url;  // the server to ask; empty: the one that owns the data folder
};

class LakeClient {
 public:
  // Calls `note` with the reason if it reads files although a server should run.
  static Result<std::unique_ptr<LakeClient>> Open(const LakeClientOptions& options,
                                                  const std::function<void(std::string)>& note);

  // Moves to the newest version of the files, if files are read. The cost depends on the number of
  // new commits.
  Status Refresh();

  // Returns the body of GET `path`?`query` (docs/PROTOCOL.md).
  Result<std::string> Get(std::string_view path, const std::string& query);
  // Runs SQL. The result goes to `out` piece by piece.
  Status Query(const std::string& sql, ResultFormat format, int64_t rows_max,
               const ResultSink& out);
  // Returns whether the last answer was cut at rows_max.
  bool truncated() const { return truncated_; }
  // What the last answer lacks, a sentence for each partition. Mostly nothing.
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  Status OpenFiles(const LakePlace& place);
  Result<std::string> Explain(HttpResponse response);

  SystemClock clock_;
  // Either a server is asked, or files are read.
  std::string url_;  // empty: files are read
  std::unique_ptr<HttpClient> http_;
  std::unique_ptr<LakeReader> files_;
  bool truncated_ = false;
  std::vector<std::string> missing_;
};

// Escapes `text` for the query of a URL (RFC 3986: all but unreserved characters).
std::string UrlEncoded(std::string_view text);

}  // namespace sightline
