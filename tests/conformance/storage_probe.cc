// storage_probe URL [KEY=VALUE...]: a storage for tests that break what it depends on. The URL is
// hdfs://test/PATH or s3://BUCKET/PATH, and the keys are fields of HdfsOptions or S3Options. One
// call for each line of standard input:
//
//   put PATH replace|if_absent BYTES LETTER    a file of so many times the letter
//   read PATH | stat PATH | list DIRECTORY | delete PATH
//
// One line of answer for each: "written", "taken", "absent", "done", "SIZE LETTER" ("mixed" if not
// all bytes are the same), the size, the paths, or "retry MESSAGE", "rebuild MESSAGE", "stop
// MESSAGE".
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

#include "connectors/storage/http_pool.h"
#include "connectors/storage/open_storage.h"

namespace sightline {
namespace {

std::string Said(const Status& status) {
  std::string message = status.message();
  std::replace(message.begin(), message.end(), '\n', ' ');
  switch (status.code()) {
    case StatusCode::kOk:
      return "done";
    case StatusCode::kRetry:
      return "retry " + message;
    case StatusCode::kRebuild:
      return "rebuild " + message;
    case StatusCode::kStop:
      return "stop " + message;
  }
  return "";
}

std::string Put(Storage& storage, std::istream& words, const std::string& path) {
  std::string mode;
  size_t size = 0;
  char letter = ' ';
  words >> mode >> size >> letter;
  const auto put = storage.Put(path, std::string(size, letter),
                               mode == "replace" ? PutMode::kReplace : PutMode::kIfAbsent);
  if (!put.ok()) return Said(put.status());
  return put.value() == PutOutcome::kWritten ? "written" : "taken";
}

std::string Read(Storage& storage, const std::string& path) {
  const auto read = storage.ReadWhole(path);
  if (!read.ok()) return Said(read.status());
  if (!read.value()) return "absent";
  const std::string& bytes = *read.value();
  const bool same = bytes == std::string(bytes.size(), bytes.empty() ? ' ' : bytes[0]);
  return fmt::format("{} {}", bytes.size(), same ? bytes.substr(0, 1) : "mixed");
}

std::string Answer(Storage& storage, const std::string& line) {
  std::istringstream words(line);
  std::string call, path;
  words >> call >> path;
  if (call == "put") return Put(storage, words, path);
  if (call == "read") return Read(storage, path);
  if (call == "delete") return Said(storage.Delete(path));
  if (call == "stat") {
    const auto file = storage.Stat(path);
    if (!file.ok()) return Said(file.status());
    return file.value() ? std::to_string(file.value()->size_bytes) : "absent";
  }
  const auto files = storage.List(path);
  if (!files.ok()) return Said(files.status());
  std::string names;
  for (const FileInfo& file : files.value()) names += file.path + " ";
  return names;
}

void Set(HdfsOptions& options, const std::string& key, const std::string& value) {
  if (key == "namenode") options.namenodes.push_back(value);
  if (key == "base_path") options.base_path = value;
  if (key == "user") options.user = value;
  if (key == "token_file") options.token_file = value;
  if (key == "ca_file") options.ca_file = value;
  if (key == "directory_mode") options.directory_mode = value;
  if (key == "file_mode") options.file_mode = value;
  if (key == "attempts_max") options.retries.attempts_max = std::stoi(value);
  if (key == "timeout_ms") options.timeout = std::chrono::milliseconds(std::stoi(value));
}

void Set(S3Options& options, const std::string& key, const std::string& value) {
  if (key == "endpoint") options.endpoint = value;
  if (key == "region") options.region = value;
  if (key == "path_style") options.path_style = value == "true";
  if (key == "ca_file") options.ca_file = value;
  if (key == "access_key_file") options.access_key_file = value;
  if (key == "encryption")
    options.encryption = value == "sse-kms" ? S3Encryption::kKms : S3Encryption::kS3;
  if (key == "kms_key") options.kms_key = value;
  if (key == "attempts_max") options.retries.attempts_max = std::stoi(value);
  if (key == "timeout_ms") options.timeout = std::chrono::milliseconds(std::stoi(value));
}

void Say(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  const std::string url = argc > 1 ? argv[1] : "";
  HdfsOptions hdfs;
  S3Options s3;
  for (int i = 2; i < argc; ++i) {
    const std::string setting = argv[i];
    const size_t equals = setting.find('=');
    Set(hdfs, setting.substr(0, equals), setting.substr(equals + 1));
    Set(s3, setting.substr(0, equals), setting.substr(equals + 1));
  }
  const auto storage = OpenStorage(url, {.hdfs = {{"test", hdfs}}, .s3 = {{HostOf(url), s3}}});
  if (!storage.ok()) {
    Say(Said(storage.status()));
    return 1;
  }
  for (std::string line; std::getline(std::cin, line);) Say(Answer(*storage.value(), line));
  return 0;
}

}  // namespace
}  // namespace sightline

int main(int argc, char** argv) { return sightline::Main(argc, argv); }
