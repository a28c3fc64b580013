// What an answer of S3 means. Pure functions. XML stays behind this header.
//
// A refusal is a document <Error><Code>..</Code><Message>..</Message></Error>. Without one, whoever
// answered is not S3, and a 404 does not mean that a file is absent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "connectors/storage/http_pool.h"

namespace sightline {

struct S3Verdict {
  enum class Kind : uint8_t {
    kDone,
    kAbsent,    // there is no such file
    kNoUpload,  // there is no such multipart upload
    kTaken,     // there is a file, and there was to be none
    kBeyond,    // the read range begins behind the file's end
    kSkewed,    // our clock and the server's are too far apart
    kAgain,     // may be another one at the next attempt
    kFailed,
  };
  Kind kind = Kind::kDone;
  StatusCode code = StatusCode::kOk;  // for the caller, if that is not an answer to what was asked
  std::string text;  // "HTTP 403, AccessDenied: <the server's message>; <what to do>"
  // The server may have done what was asked, although it does not say so.
  bool may_be_done = false;
};

// `right` says what the request needs, as "s3:PutObject on arn:aws:s3:::counts/lake/*".
// `now_ms` is our clock when it was signed, since the Unix epoch.
S3Verdict JudgeS3Answer(const HttpAnswer& answer, std::string_view right, int64_t now_ms);

struct S3Object {
  std::string key;
  std::string upload_id;  // of a multipart upload that is not finished; else empty
  int64_t size_bytes = 0;
  int64_t modified_ms = 0;  // since the Unix epoch
};
struct S3Page {
  std::vector<S3Object> objects;
  // The parameters with which the next page begins; empty at the last one.
  std::vector<std::pair<std::string, std::string>> next;
};
// Of ListObjectsV2 or ListMultipartUploads. kRetry if the body is none of them.
Result<S3Page> ReadS3Page(std::string_view body);

// Of CreateMultipartUpload; nothing if the body is not its answer.
std::optional<std::string> ReadS3UploadId(std::string_view body);
// Whether CompleteMultipartUpload succeeded: its 200 may have a refusal in its body.
bool SaysCompleted(std::string_view body);
// The body of CompleteMultipartUpload: the parts from 1 on, by what the server called them (ETag).
std::string S3PartList(const std::vector<std::string>& etags);

}  // namespace sightline
