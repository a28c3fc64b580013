#include "sql/sql_errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

namespace sightline {
namespace {

// The kinds of error that are mistakes in a question.
constexpr std::array<std::string_view, 7> kKinds = {
    "Parser Error: ",        "Binder Error: ",       "Catalog Error: ",        "Conversion Error: ",
    "Invalid Input Error: ", "Out of Range Error: ", "Not implemented Error: "};

// What DuckDB says, with "*" for any text, and what we say, with {0}, {1}... for these texts. What
// stands behind the end of a pattern is dropped.
struct Wording {
  std::string_view theirs, ours;
};
constexpr Wording kWordings[] = {
    {"Referenced column \"*\" not found in FROM clause!\nCandidate bindings: *",
     "there is no column '{0}'; similar names: {1}"},
    {"Referenced column \"*\" not found in FROM clause!", "there is no column '{0}'"},
    {"Referenced column \"*\" was not found because the FROM clause is missing",
     "there is no column '{0}', because there is no FROM before it"},
    {"Table \"*\" does not have a column named \"*\"\n\nCandidate bindings: : *",
     "the table '{0}' has no column '{1}'; similar names: {2}"},
    {"Table \"*\" does not have a column named \"*\"", "the table '{0}' has no column '{1}'"},
    {"Referenced table \"*\" not found!\nCandidate tables: *",
     "FROM has no table '{0}' that can be seen here; it has: {1}"},
    {"Ambiguous reference to column name \"*\" (use: *)",
     "several tables have a column '{0}': write {1}"},
    {"Ambiguous reference to table \"*\" (duplicate alias *)",
     "two tables have the name '{0}': give one of them another with AS"},
    {"column \"*\" must appear in the GROUP BY clause or must be part of an aggregate function.",
     "the column '{0}' is neither in GROUP BY nor in an aggregate function: add it to GROUP BY, "
     "write GROUP BY ALL, or write any_value({0})"},
    {"column * must appear in the GROUP BY clause or be used in an aggregate function",
     "the column '{0}' is neither in GROUP BY nor in an aggregate function: add it to GROUP BY, or "
     "use WHERE in place of HAVING"},
    {"Combining QUALIFY with GROUP BY ALL is not supported yet",
     "QUALIFY and GROUP BY ALL do not go together: name the columns in GROUP BY"},
    {"WHERE clause cannot contain aggregates!",
     "WHERE cannot contain aggregate functions: put the condition into HAVING"},
    {"WHERE clause cannot contain window functions!",
     "WHERE cannot contain window functions: put the condition into QUALIFY"},
    {"No function matches the given name and argument types '*'. You might need to add explicit "
     "type casts.\n\tCandidate functions:\n*",
     "there is no function {0}: cast the arguments, for example x::BIGINT; there are: {1}"},
    {"Could not choose a best candidate function for the function call \"*\". In order to select "
     "one, please add explicit type casts.\n\tCandidate functions:\n*",
     "it is not clear which function {0} means: cast the arguments, for example x::DATE; there "
     "are: {1}"},
    {"Scalar Function with name * does not exist!\nDid you mean \"*\"?",
     "there is no function '{0}'; did you mean '{1}'?"},
    {"Aggregate Function with name * does not exist!\nDid you mean \"*\"?",
     "there is no function '{0}'; did you mean '{1}'?"},
    {"Type with name * does not exist!\nDid you mean \"*\"?",
     "there is no type '{0}'; did you mean '{1}'?"},
    {"Cannot compare values of type * and type * - an explicit cast is required",
     "a {0} and a {1} cannot be compared: cast one of them, for example x::DATE"},
    {"Could not convert string '*' to *", "the text '{0}' cannot be converted to {1}"},
    {"More than one row returned by a subquery used as an expression",
     "a subquery that stands for one value returned several rows: use an aggregate or LIMIT 1"},
    {"Expression type T_*", "this expression is not supported here"},
};

// The texts for each "*" if `message` begins like `pattern`. Each is as short as it can be, but the
// last goes to the end of the message if the pattern ends with it.
std::optional<std::vector<std::string>> Match(std::string_view pattern, std::string_view message) {
  std::vector<std::string> texts;
  for (size_t star = pattern.find('*');; star = pattern.find('*')) {
    const std::string_view plain = pattern.substr(0, star);
    const size_t at = texts.empty() ? (message.starts_with(plain) ? 0 : std::string_view::npos)
                                    : message.find(plain);
    if (at == std::string_view::npos) return {};
    if (!texts.empty()) texts.back() = message.substr(0, plain.empty() ? message.size() : at);
    if (star == std::string_view::npos) return texts;
    message.remove_prefix(plain.empty() ? 0 : at + plain.size());
    pattern.remove_prefix(star + 1);
    texts.emplace_back();
  }
}

// One line of it: lists of functions, of which there may be forty, are cut.
std::string OneLine(std::string_view text) {
  constexpr int kLinesMax = 4;
  std::string line;
  int lines = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view piece = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (piece.starts_with('\t') || piece.starts_with(' ')) piece.remove_prefix(1);
    if (piece.empty()) continue;
    if (lines++ == kLinesMax) return line + ", ...";
    line += (line.empty() ? "" : ", ") + std::string(piece);
  }
  return line;
}

// "line 2, column 8: " from "LINE 2: SELECT ..." and a caret below. Of a long line DuckDB shows
// only a part, "...x FROM y", which has no column. A statement around the question is ours: no
// place.
std::string Place(std::string_view drawing) {
  const size_t colon = drawing.find(": "), end = drawing.find('\n');
  if (colon == std::string_view::npos || end == std::string_view::npos || colon > end) return "";
  const std::string_view line = drawing.substr(5, colon - 5);
  const std::string_view shown = drawing.substr(colon + 2, end - colon - 2);
  const size_t caret = drawing.find('^', end);
  if (shown.find("sightline_") != std::string_view::npos) return "";
  if (shown.starts_with("...") || caret == std::string_view::npos || caret < end + colon + 3)
    return fmt::format("line {}: ", line);
  return fmt::format("line {}, column {}: ", line, caret - end - colon - 2);
}

std::string Worded(std::string_view message) {
  for (const Wording& wording : kWordings) {
    const auto texts = Match(wording.theirs, message);
    if (!texts) continue;
    std::string said(wording.ours);
    for (size_t i = 0; i < texts->size(); ++i) {
      const std::string mark = fmt::format("{{{}}}", i), text = OneLine((*texts)[i]);
      for (size_t at = said.find(mark); at != std::string::npos; at = said.find(mark, at)) {
        said.replace(at, mark.size(), text);
        at += text.size();
      }
    }
    return said;
  }
  return OneLine(message);
}

}  // namespace

std::string InOurWords(std::string_view message) {
  const auto* const kind = std::ranges::find_if(
      kKinds, [&](std::string_view known) { return message.starts_with(known); });
  if (kind == kKinds.end()) {
    // The parser gives its message without a kind.
    return message.find(" Error: ") == std::string_view::npos &&
                   message.find('\n') == std::string_view::npos
               ? Worded(message)
               : std::string(message);
  }
  std::string_view text = message.substr(kind->size());
  const size_t drawn = text.rfind("\nLINE ");
  const std::string place = drawn == std::string_view::npos ? "" : Place(text.substr(drawn + 1));
  return place + Worded(text.substr(0, drawn));
}

}  // namespace sightline
