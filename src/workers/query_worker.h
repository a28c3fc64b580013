// The process that answers questions for a server: the hidden command `sightline query-worker`.
#pragma once

#include "query/lake_source.h"

namespace sightline {

// Answers what comes over the channel that the process was started with (kWorkerChannel), until the
// server closes it. Returns the exit code.
// It computes with a QueryEngine, which sees only what the server sends: files of the lake by their
// paths, rows in memory, and references to spilled rows, which `open_part` opens.
int RunQueryWorker(const OpenPart& open_part);

// Exit codes.
constexpr int kNoChannel = 2;   // it was not started by a server
constexpr int kCannotWork = 4;  // it cannot be confined, or DuckDB does not start

}  // namespace sightline
