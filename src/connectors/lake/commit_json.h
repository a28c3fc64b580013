// A commit as the lines of JSON in `_delta_log/<version>.json`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "connectors/lake/actions.h"

namespace sightline::lake {

// `id` makes the bytes unlike those of any other commit: a writer whose answer was lost recognises
// its own. The first line (commitInfo) holds a hash of the others.
std::string EncodeCommit(const Change& change, int64_t now_ms, std::string_view id);

// kStop, naming `path`, if a line does not parse, lacks what the protocol asks for, needs a feature
// that we do not have, or if the hash of our own commit does not match.
Result<Commit> ParseCommit(std::string_view json, std::string_view path);

// What we can read and write: kStop says which version asks for more.
Status CheckReadable(const Protocol& protocol, std::string_view path);
Status CheckWritable(const Protocol& protocol, std::string_view table);

}  // namespace sightline::lake
