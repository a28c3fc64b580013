// A commit as lines of JSON, as in `_delta_log/<version>.json`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "connectors/lake/actions.h"

namespace sightline::lake {

// Encodes a commit. `id` makes the bytes differ from those of any other commit, so that a writer
// whose answer was lost recognises its own. The first line (commitInfo) has a hash of the other
// lines.
std::string EncodeCommit(const Change& change, int64_t now_ms, std::string_view id);

// Parses a commit. kStop, naming `path`, if a line does not parse or lacks what the protocol
// requires, if it needs a feature that we do not support, or if the hash of a commit of ours does
// not match.
Result<Commit> ParseCommit(std::string_view json, std::string_view path);

// Checks that we can read a table of this protocol. kStop names the version that it requires.
Status CheckReadable(const Protocol& protocol, std::string_view path);

}  // namespace sightline::lake
