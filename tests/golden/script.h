// A golden script: what the log holds and what must come out of it, as text that reads like the
// table in docs/SEMANTICS.md. README.md of this folder describes the format.
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
  std::string title;  // the first comment
  PipelineSpec spec;
  std::optional<int32_t> partitions;  // set where copies reach one partition only if there is one
  std::vector<Message> messages;
  Cells counts;
  std::optional<Cells> corrections;  // of one partition: its watermark decides what is one
  std::map<std::string, int64_t> ledger;
};

// kStop with file and line of the first mistake.
Result<Script> ReadScript(const std::string& path);

// "12:00:00.123" of the scripts' first day, with the day before it if it is another.
std::string FormatTime(EventTime time);

}  // namespace sightline::golden
