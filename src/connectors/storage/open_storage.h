// OpenStorage: the storage at a URL. The only function that names the implementations.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/status.h"
#include "connectors/storage/hdfs_options.h"
#include "connectors/storage/s3_options.h"
#include "connectors/storage/storage.h"
#include "connectors/storage/storage_metrics.h"

namespace sightline {

struct StorageOptions {
  std::map<std::string, HdfsOptions> hdfs;  // by the NAME of hdfs://NAME/path
  std::map<std::string, S3Options> s3;      // by the BUCKET of s3://BUCKET/path
  StorageMetrics* metrics = nullptr;        // counts what is done; must outlive the storage
  // A call that waits for a server fails soon after a stop, as if the server were away.
  std::stop_token stop;
};

// `url` is a path, file:///path, hdfs://NAME/path or s3://BUCKET/path. Nothing is read or made yet:
// a place that does not exist is empty, and is created with its first file. kStop if the URL or the
// options cannot be right.
Result<std::unique_ptr<Storage>> OpenStorage(const std::string& url, const StorageOptions& options);

// The same place as it is known from every folder: a path is made absolute.
std::string AbsoluteStorageUrl(const std::string& url);

// The folder of this machine in which other libraries open the files by path, made absolute. None:
// the files have to be read through a Storage.
std::optional<std::string> LocalFolder(const std::string& url);

}  // namespace sightline
