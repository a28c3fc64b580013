// S3Credentials: the key with which requests are signed. Asked for each request, so that a key may
// expire and be renewed while a process runs. Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "connectors/storage/s3_signature.h"

namespace sightline {

class S3Credentials {
 public:
  virtual ~S3Credentials() = default;
  // kStop if there is none. A message never has a secret.
  virtual Result<S3Key> Get() = 0;

  // The id, the secret and, if there is one, the session token, a line each. Read at each Get().
  static std::unique_ptr<S3Credentials> FromFile(std::string path);
  // The provider chain of AWS, as Arrow brings it: the environment (AWS_ACCESS_KEY_ID, ...), the
  // profile (AWS_PROFILE in ~/.aws), a process, a web identity (AWS_WEB_IDENTITY_TOKEN_FILE, ...),
  // SSO, and the container or instance. kStop if it cannot be set up. The last two ask servers: a
  // call may wait for them.
  static Result<std::unique_ptr<S3Credentials>> FromChain();
};

}  // namespace sightline
