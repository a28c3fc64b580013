// Formats one value for the formats of write_result.h. Internal to this room.
#pragma once

#include <string>
#include <vector>

#include "query/result_table.h"

namespace sightline {

// The names of the columns, each once: the second `x` becomes `x_1`, the third `x_2`. For formats
// whose readers find columns by name, because SQL allows two of one name.
std::vector<std::string> UniqueNames(const std::vector<Column>& columns);

// For people and CSV: without quotes and escapes; null is empty.
std::string PlainText(const Column& column, const Value& value);
// Appends a JSON value.
void AppendJson(const Column& column, const Value& value, std::string& out);
void AppendJsonString(std::string_view text, std::string& out);

bool IsNumber(ColumnType type);

}  // namespace sightline
