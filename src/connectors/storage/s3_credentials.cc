#include "connectors/storage/s3_credentials.h"

#include <arrow/filesystem/s3fs.h>
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <utility>

namespace sightline {
namespace {

constexpr int kTriesMax = 5;

class FileCredentials final : public S3Credentials {
 public:
  explicit FileCredentials(std::string path) : path_(std::move(path)) {}

  Result<S3Key> Get() override {
    std::ifstream file(path_);
    S3Key key;
    for (std::string* const line : {&key.id, &key.secret, &key.session_token}) {
      std::getline(file, *line);
      if (line->ends_with('\r')) line->pop_back();
    }
    if (key.id.empty() || key.secret.empty())
      return Status::Stop(fmt::format(
          "access_key_file '{}' has no key: write its id into the first line and its secret into "
          "the second",
          path_));
    return key;
  }

 private:
  const std::string path_;
};

class ChainCredentials final : public S3Credentials {
 public:
  ChainCredentials() { options_.ConfigureDefaultCredentials(); }

  // Arrow gives the three parts one by one, and each may be that of a newer key.
  Result<S3Key> Get() override {
    S3Key key = Ask();
    for (int tries = 0; tries < kTriesMax; ++tries) {
      S3Key again = Ask();
      if (again == key) break;
      key = std::move(again);
    }
    if (key.id.empty() || key.secret.empty())
      return Status::Stop(
          "no key was found: set access_key_file, the environment variables AWS_ACCESS_KEY_ID and "
          "AWS_SECRET_ACCESS_KEY, or a profile, or give this machine a role");
    return key;
  }

 private:
  S3Key Ask() const {
    return {options_.GetAccessKey(), options_.GetSecretKey(), options_.GetSessionToken()};
  }

  arrow::fs::S3Options options_;
};

// The library wants to be told before the process ends, and cannot begin again afterwards.
Status BeginLibrary() {
  static const arrow::Status began = [] {
    const arrow::Status status = arrow::fs::EnsureS3Initialized();
    if (status.ok()) std::atexit([] { (void)arrow::fs::EnsureS3Finalized(); });
    return status;
  }();
  if (began.ok()) return Status::Ok();
  return Status::Stop(
      fmt::format("the library that finds keys of S3 cannot be set up ({}): set access_key_file",
                  began.ToString()));
}

}  // namespace

std::unique_ptr<S3Credentials> S3Credentials::FromFile(std::string path) {
  return std::make_unique<FileCredentials>(std::move(path));
}

Result<std::unique_ptr<S3Credentials>> S3Credentials::FromChain() {
  RETURN_IF_ERROR(BeginLibrary());
  return std::unique_ptr<S3Credentials>(std::make_unique<ChainCredentials>());
}

}  // namespace sightline
