// How one bucket is reached: the section [s3.BUCKET] of the configuration.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "connectors/storage/retries.h"

namespace sightline {

enum class S3Encryption : uint8_t {
  kDefault,  // as the bucket has it
  kS3,       // SSE-S3: by the server's own key
  kKms,      // SSE-KMS: by a key of its key management service
};

struct S3Options {
  // "https://HOST:PORT"; empty: AWS in `region`.
  std::string endpoint;
  std::string region = "us-east-1";
  // Whether the bucket is in the path of a URL or, if not, in front of the host.
  bool path_style = true;
  std::string ca_file;  // PEM; empty: the certificates that the machine trusts
  // A file with the id, the secret and, if there is one, the session token of a key, a line each;
  // it is read again for each request. Empty: the provider chain of AWS (s3_credentials.h).
  std::string access_key_file;
  S3Encryption encryption = S3Encryption::kDefault;
  std::string kms_key;  // of kKms; empty: the bucket's

  int64_t uploads_max = 8;  // files that one call writes at once
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds timeout{30'000};  // in which a request must make progress
  RetryLimits retries;
};

}  // namespace sightline
