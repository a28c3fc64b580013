// How one HDFS is reached: the section [hdfs.NAME] of the configuration.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "connectors/storage/retries.h"

namespace sightline {

struct HdfsOptions {
  // Where WebHDFS is, as "https://nn1:9871". Of a cluster with standby NameNodes, all of them.
  std::vector<std::string> namenodes;
  // Before the path of a file. A gateway has another one, such as "/gateway/NAME/webhdfs/v1".
  std::string base_path = "/webhdfs/v1";
  std::string user;        // of simple authentication; empty: the server's default
  std::string token_file;  // has a delegation token, and is read again for each request
  std::string ca_file;     // PEM; empty: the certificates that the machine trusts
  // Octal modes of what is created, as "770". Empty: the server's default; a directory that is
  // missing then gets the mode of its parent.
  std::string directory_mode, file_mode;

  int64_t uploads_max = 8;  // files that one call writes at once
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds timeout{30'000};  // in which a request must make progress
  RetryLimits retries;
};

}  // namespace sightline
