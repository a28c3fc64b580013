// Formats one value for the formats of write_result.h. Internal to this room.
#pragma once

#include <string>

#include "query/result_table.h"

namespace sightline {

// For people and CSV: without quotes and escapes; null is empty.
std::string PlainText(const Column& column, const Value& value);
// Appends a JSON value.
void AppendJson(const Column& column, const Value& value, std::string& out);
void AppendJsonString(std::string_view text, std::string& out);

bool IsNumber(ColumnType type);

}  // namespace sightline
