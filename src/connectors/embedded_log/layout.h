// The log's single file: its layout (which layout.cc draws), and how it is created, checked and
// opened.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "connectors/embedded_log/sqlite.h"

namespace sightline::embedded_log {

constexpr int64_t kFormatVersion = 1;
constexpr int64_t kPageSize = 8192;

struct Identity {
  std::string log_id;
  int32_t partitions = 0;
};

// Opens the writer's connection, and creates the file if needed. kStop: the file is damaged, is not
// ours, was written in another format, or has another number of partitions.
struct OpenedFile {
  Database database;
  Identity identity;
};
Result<OpenedFile> OpenForWriting(const std::string& path, int32_t partitions);

// Opens a reader's connection to a file that a writer has open.
Result<Database> OpenForReading(const std::string& path);

}  // namespace sightline::embedded_log
