// Signature version 4 of AWS, as S3 wants it: it proves that whoever sends a request knows the
// secret, and that nobody has changed it on the way. Pure functions.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/status.h"
#include "connectors/storage/content.h"

namespace sightline {

struct S3Key {
  std::string id, secret;
  std::string session_token;  // of a temporary key; empty: none
  friend bool operator==(const S3Key&, const S3Key&) = default;
};

struct S3Call {
  std::string method;
  std::string host;                               // as the header Host has it
  std::string path;                               // percent-encoded
  std::map<std::string, std::string> parameters;  // of the query, not encoded
  std::map<std::string, std::string> headers;     // that are signed; names in lower case
};

// 32 bytes.
std::string Sha256(std::string_view bytes);
// Reads all of it, piece by piece. kRetry if it cannot be read.
Result<std::string> Sha256OfContent(const Content& content);
std::string Hex(std::string_view bytes);     // in lower case
std::string Base64(std::string_view bytes);  // with its '='

// "a=1&b=x%20y", sorted, as it must stand in the URL.
std::string S3Query(const std::map<std::string, std::string>& parameters);

// Adds to `call.headers` everything that the signature needs, and itself ("authorization").
// `payload_hash` is the SHA-256 of the body in hex; `now_ms` is since the Unix epoch.
void SignS3Call(S3Call& call, const S3Key& key, std::string_view region,
                std::string_view payload_hash, int64_t now_ms);

}  // namespace sightline
