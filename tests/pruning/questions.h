// Generates questions in SQL over the views of docs/SQL.md that try to make the engine skip a file
// which it needs. Their answers do not depend on the order of rows: no samples, no positional joins
// (query_engine_test.cc has these). Pure: a seed and a number always give the same question.
#pragma once

#include <cstdint>
#include <string>

namespace sightline::pruning {

struct Question {
  std::string sql;
  // The same question, but each column in a condition is disguised (`date + 0`), so that nobody can
  // derive from it which files it needs.
  std::string disguised;
};

Question Ask(uint64_t seed, uint64_t number);

// The locations and days that the questions are about: a lake of these gives them answers.
constexpr int64_t kOids[] = {7, 8, -7, 0, 9007199254740993};
constexpr const char* kDays[] = {"2025-12-31", "2026-01-01", "2026-01-02", "2026-02-28"};

}  // namespace sightline::pruning
