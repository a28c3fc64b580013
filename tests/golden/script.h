// A golden script: what the log contains and what must come out of it, as text that reads like the
// table in docs/SEMANTICS.md. The README.md of this folder describes the format.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/types.h"
#include "pipeline/spec.h"

namespace sightline::golden {

struct Message {
  int line = 0;  // in the script
  AppendTime append_time = kNoAppendTime;
  std::string payload;
  std::vector<std::string> outcomes;  // sorted: "counted", "malformed not_json", ...
};

// (window start, location, item) -> count.
struct Cell {
  EventTime window;
  LocationId location;
  std::string item;
  friend auto operator<=>(const Cell&, const Cell&) = default;
};
using Cells = std::map<Cell, int64_t>;

struct Script {
  std::string title;  // the script's first comment
  PipelineSpec spec;
  std::optional<int32_t> partitions;  // set if the copies meet only in a single partition
  std::vector<Message> messages;
  Cells counts;
  // With one partition: its watermark decides what is a correction.
  std::optional<Cells> corrections;
  std::map<std::string, int64_t> ledger;
};

// Parses a script. kStop with the file and line of the first mistake.
Result<Script> ReadScript(const std::string& path);

// Formats a time as "12:00:00.123" of the scripts' first day, preceded by the day if it is another
// one.
std::string FormatTime(EventTime time);

}  // namespace sightline::golden
