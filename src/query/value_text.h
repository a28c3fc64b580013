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
// For a CSV file that Excel opens: PlainText() with these differences.
// - Times are "2026-01-05 10:03:00.000", without "Z": Excel reads "T" and "Z" as text.
// - Whole numbers of more than 15 digits are the formula ="9007199254740993", whose value is text:
//   Excel would replace the digits behind the 15th by zeros.
// - An apostrophe is put before text that Excel would execute as a formula (it begins with = + - @,
//   a tab or a carriage return), so that nobody who names an item runs something on the reader's
//   machine.
std::string ExcelText(const Column& column, const Value& value);
// Appends a JSON value.
void AppendJson(const Column& column, const Value& value, std::string& out);
void AppendJsonString(std::string_view text, std::string& out);

bool IsNumber(ColumnType type);

}  // namespace sightline
