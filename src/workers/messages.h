// What the server and a worker say to each other, and its encoding. Values; pure functions.
//
// Both ends are the same binary, so there are no versions. The server does not trust a worker: a
// question may have taken it over. Decode...() of what a worker sends never fails by a crash.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "query/query_service.h"

namespace sightline {

// What a worker is told when it starts.
struct WorkerSetup {
  std::string root;               // the lake's folder, an absolute path
  std::vector<std::string> read;  // other folders that it may read: those of the pinned runs
  int64_t memory_bytes_max = 0;   // of DuckDB
  int64_t answer_bytes_max = 0;
  int32_t threads = 1;
  Millis window_size{60'000};
};
std::string Encode(const WorkerSetup& setup);
Result<WorkerSetup> DecodeSetup(std::string_view bytes);

struct AskMessage {
  Question question;
  Millis time;  // from now to the last row
  int64_t rows_max = 0;
};
std::string Encode(const AskMessage& ask);
Result<AskMessage> DecodeAsk(std::string_view bytes);

std::string EncodeNeeds(const ViewBounds& views);
Result<ViewBounds> DecodeNeeds(std::string_view bytes);

// The state of the lake that a question needs. Files have paths relative to the lake's folder; the
// rows lie in the frame's descriptors, in the order of the flags.
struct StateMessage {
  Status status = Status::Ok();  // else there is no state, and this is why
  int64_t counts_version = -1, ledger_version = -1;
  std::vector<LakeFile> counts_files, ledger_files;
  bool has_counts = false, has_ledger = false, has_locations = false;
  std::vector<std::string> parts;  // PendingPart::Reference() of each
};
std::string Encode(const StateMessage& state);
Result<StateMessage> DecodeState(std::string_view bytes);

// How a question ended.
struct EndMessage {
  Status status = Status::Ok();
  QueryLimit limit = QueryLimit::kNone;
  bool truncated = false;
  std::map<std::string, std::string> unreadable_files;  // by path, below the lake's folder
  std::vector<uint32_t> unreadable_parts;               // indexes into StateMessage::parts
};
std::string Encode(const EndMessage& end);
Result<EndMessage> DecodeEnd(std::string_view bytes);

}  // namespace sightline
