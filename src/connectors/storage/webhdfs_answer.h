// What an answer of WebHDFS means. Pure functions.
//
// A refusal is a JSON object {"RemoteException": {"exception", "javaClassName", "message"}}. The
// HTTP status alone says little: nearly every refusal is a 403.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "connectors/storage/http_pool.h"

namespace sightline {

struct HdfsVerdict {
  enum class Kind : uint8_t {
    kDone,
    kAbsent,  // there is no such file
    kTaken,   // there is such a file
    kBeyond,  // the read range begins behind the file's end
    kAgain,   // may be another one at the next attempt
    kFailed,
  };
  Kind kind = Kind::kDone;
  StatusCode code = StatusCode::kOk;  // for the caller, if that is not an answer to what was asked
  std::string text;  // "HTTP 403, SafeModeException: <the server's message>; <what to do>"
  // The server may have done what was asked, although it does not say so.
  bool may_be_done = false;
};

// Of the last server: a redirect is an error here.
HdfsVerdict JudgeHdfsAnswer(const HttpAnswer& answer);

struct HdfsFile {
  std::string name;  // empty: what was asked for is itself the file
  bool is_directory = false, is_file = false;
  int64_t size_bytes = 0;
  int64_t modified_ms = 0;  // since the Unix epoch
};
// Of GETFILESTATUS: one. Of LISTSTATUS: one for each name. kRetry if the body is none of them.
Result<std::vector<HdfsFile>> ReadHdfsFiles(const std::string& body);

// {"boolean": ...} of a body. A body without one, as RENAME with options answers it, is true.
bool SaysTrue(const std::string& body);

}  // namespace sightline
