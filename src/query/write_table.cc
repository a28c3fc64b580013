#include "query/write_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/utf8.h"
#include "query/value_text.h"

namespace sightline {
namespace {

struct Shown {
  std::string text;
  size_t width = 0;
};

// Characters that could move the cursor or hide text. They must not reach a terminal.
bool IsControl(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x200B && c <= 0x200F) ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;
}

Shown Show(std::string_view text) {
  Shown shown;
  while (!text.empty()) {
    const CodePoint point = FirstCodePoint(text);
    if (point.length == 0) {
      shown.text += "\xEF\xBF\xBD";
      shown.width += 1;
      text.remove_prefix(1);
      continue;
    }
    if (IsControl(point.value)) {
      const std::string escaped = point.value == '\n'   ? "\\n"
                                  : point.value == '\t' ? "\\t"
                                                        : fmt::format("\\u{:04x}", point.value);
      shown.text += escaped;
      shown.width += escaped.size();
    } else {
      shown.text += text.substr(0, point.length);
      shown.width += static_cast<size_t>(DisplayWidth(point.value));
    }
    text.remove_prefix(point.length);
  }
  return shown;
}

std::string Line(const std::vector<Shown>& cells, const std::vector<Column>& columns,
                 const std::vector<size_t>& widths) {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string padding(widths[i] - cells[i].width, ' ');
    if (i > 0) line += "  ";
    line += IsNumber(columns[i].type) ? padding + cells[i].text : cells[i].text + padding;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

}  // namespace

Status WriteTable(ResultTable& table, const ResultSink& sink) {
  const std::vector<Column>& columns = table.columns();
  std::vector<std::vector<Shown>> lines(1);
  for (const Column& column : columns) lines[0].push_back(Show(column.name));
  while (true) {
    Result<const Row*> row = table.Next();
    if (!row.ok()) return row.status();
    if (row.value() == nullptr) break;
    std::vector<Shown>& line = lines.emplace_back();
    for (size_t i = 0; i < columns.size(); ++i) {
      const Value& value = (*row.value())[i];
      const bool is_null = std::holds_alternative<std::monostate>(value);
      line.push_back(Show(is_null ? "-" : PlainText(columns[i], value)));
    }
  }
  std::vector<size_t> widths(columns.size());
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].width);
  }
  std::vector<Shown> rule;
  for (const size_t width : widths) rule.push_back({std::string(width, '-'), width});
  lines.insert(lines.begin() + 1, std::move(rule));
  for (const auto& line : lines) RETURN_IF_ERROR(sink(Line(line, columns, widths)));
  return Status::Ok();
}

}  // namespace sightline
