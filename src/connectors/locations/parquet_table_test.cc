#include "connectors/locations/parquet_table.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>

#include <cmath>
#include <limits>

namespace sightline {
namespace {

// Fills any builder; nullopt becomes null.
template <typename Builder, typename Value>
std::shared_ptr<arrow::Array> Array(const std::vector<std::optional<Value>>& values) {
  Builder builder;
  for (const auto& value : values)
    CHECK((value ? builder.Append(*value) : builder.AppendNull()).ok());
  return builder.Finish().ValueOrDie();
}
template <typename Builder = arrow::Int64Builder>
std::shared_ptr<arrow::Array> Numbers(const std::vector<std::optional<int64_t>>& values) {
  std::vector<std::optional<typename Builder::value_type>> typed;
  for (const auto& v : values)
    typed.push_back(v ? std::optional(static_cast<typename Builder::value_type>(*v))
                      : std::nullopt);
  return Array<Builder, typename Builder::value_type>(typed);
}
template <typename Builder = arrow::StringBuilder>
std::shared_ptr<arrow::Array> Texts(const std::vector<std::optional<std::string>>& values) {
  return Array<Builder, std::string>(values);
}
std::shared_ptr<arrow::Array> Doubles(const std::vector<std::optional<double>>& values) {
  return Array<arrow::DoubleBuilder, double>(values);
}

using Columns = std::vector<std::pair<std::string, std::shared_ptr<arrow::Array>>>;

std::string File(const Columns& columns, int64_t row_group_rows = 1 << 20) {
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  for (const auto& [name, array] : columns) {
    fields.push_back(arrow::field(name, array->type()));
    arrays.push_back(array);
  }
  const auto table = arrow::Table::Make(arrow::schema(fields), arrays, arrays[0]->length());
  auto out = arrow::io::BufferOutputStream::Create().ValueOrDie();
  const auto properties = parquet::WriterProperties::Builder().enable_page_checksum()->build();
  // Keeps dictionaries and large strings as they are.
  const auto as_arrow = parquet::ArrowWriterProperties::Builder().store_schema()->build();
  CHECK(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), out, row_group_rows,
                                   properties, as_arrow)
            .ok());
  return out->Finish().ValueOrDie()->ToString();
}

Columns Two() {
  return {{"geographical_location_oid", Numbers({7, -8})},
          {"geographical_location", Texts({"Gate \"4\"", "Plaza"})}};
}
Columns With(Columns columns, const std::string& name, std::shared_ptr<arrow::Array> array) {
  for (auto& [known, values] : columns)
    if (known == name) {
      values = std::move(array);
      return columns;
    }
  columns.emplace_back(name, std::move(array));
  return columns;
}

void ExpectRefused(const std::string& file, std::string_view because) {
  const auto result = ParseParquetLocations(file);
  ASSERT_FALSE(result.ok()) << because;
  EXPECT_NE(result.status().message().find(because), std::string::npos)
      << result.status().message();
}

TEST(ParquetLocations, ReadsAllColumnsInAnyOrderAndLeavesOthersOut) {
  const std::string file = File({{"parent", Numbers({std::nullopt, 7})},
                                 {"x", Numbers({1, 2})},
                                 {"geographical_location", Texts({"Gate \"4\"", "Café €"})},
                                 {"time_zone", Texts({"Europe/Oslo", std::nullopt})},
                                 {"longitude", Doubles({std::nan(""), -0.1})},
                                 {"latitude", Doubles({59.9, std::nullopt})},
                                 {"geographical_location_oid", Numbers({7, -8})}},
                                1);  // one row per row group
  ASSERT_TRUE(LooksLikeParquet(file));
  const auto result = ParseParquetLocations(file);
  ASSERT_TRUE(result.ok()) << result.status().message();
  ASSERT_EQ(result.value().size(), 2u);
  const Location &gate = result.value()[0], &cafe = result.value()[1];
  EXPECT_EQ(gate.location.v, 7);
  EXPECT_EQ(gate.name, "Gate \"4\"");
  EXPECT_EQ(gate.time_zone, "Europe/Oslo");
  EXPECT_EQ(gate.latitude, 59.9);
  EXPECT_FALSE(gate.longitude.has_value());
  EXPECT_FALSE(gate.parent.has_value());
  EXPECT_EQ(cafe.name, "Café €");
  EXPECT_EQ(cafe.time_zone, "");
  EXPECT_FALSE(cafe.latitude.has_value());
  EXPECT_EQ(cafe.longitude, -0.1);
  EXPECT_EQ(cafe.parent->v, 7);
}

TEST(ParquetLocations, OidsOfAnyIntegerType) {
  for (const auto& oids :
       {Numbers<arrow::Int8Builder>({7, 8}), Numbers<arrow::Int16Builder>({7, 8}),
        Numbers<arrow::Int32Builder>({7, 8}), Numbers<arrow::UInt8Builder>({7, 8}),
        Numbers<arrow::UInt16Builder>({7, 8}), Numbers<arrow::UInt32Builder>({7, 8}),
        Numbers<arrow::UInt64Builder>({7, 8})}) {
    const auto result = ParseParquetLocations(File(With(Two(), "geographical_location_oid", oids)));
    ASSERT_TRUE(result.ok()) << oids->type()->ToString() << ": " << result.status().message();
    EXPECT_EQ(result.value()[1].location.v, 8) << oids->type()->ToString();
  }
  ExpectRefused(
      File(With(Two(), "geographical_location_oid",
                Array<arrow::UInt64Builder, uint64_t>({1, std::numeric_limits<uint64_t>::max()}))),
      "row 2: geographical_location_oid is beyond 64 signed bits");
}

TEST(ParquetLocations, NamesOfAnyStringType) {
  arrow::StringDictionaryBuilder dictionary;
  ASSERT_TRUE(dictionary.Append("A").ok() && dictionary.Append("A").ok());
  for (const auto& names :
       {Texts<arrow::LargeStringBuilder>({"A", "A"}), Texts<arrow::StringViewBuilder>({"A", "A"}),
        dictionary.Finish().ValueOrDie()}) {
    const auto result = ParseParquetLocations(File(With(Two(), "geographical_location", names)));
    ASSERT_TRUE(result.ok()) << names->type()->ToString() << ": " << result.status().message();
    EXPECT_EQ(result.value()[1].name, "A");
  }
}

TEST(ParquetLocations, RefusesWholeTables) {
  const auto with = [](const std::string& name, std::shared_ptr<arrow::Array> array) {
    return File(With(Two(), name, std::move(array)));
  };
  ExpectRefused(File({{"geographical_location_oid", Numbers({1})}, {"name", Texts({"A"})}}),
                "'geographical_location' is missing; the columns are 'geographical_location_oid'");
  ExpectRefused(File({{"geographical_location", Texts({"A"})}}),
                "'geographical_location_oid' is missing");
  ExpectRefused(with("geographical_location_oid", Numbers({5, 5})),
                "row 2: geographical_location_oid 5 occurs already in row 1");
  ExpectRefused(with("geographical_location_oid", Numbers({5, std::nullopt})),
                "row 2: geographical_location_oid is null");
  ExpectRefused(with("geographical_location", Texts({std::nullopt, "A"})),
                "row 1: geographical_location is null");
  ExpectRefused(with("geographical_location", Texts({"A", ""})),
                "row 2: geographical_location is empty");
  ExpectRefused(with("geographical_location", Texts({"A", "caf\xe9"})), "row 2: not valid UTF-8");
  ExpectRefused(with("geographical_location_oid", Texts({"1", "2"})),
                "column 'geographical_location_oid' is of type string; it must be an integer");
  ExpectRefused(with("geographical_location_oid", Doubles({1, 2})), "must be an integer");
  ExpectRefused(with("geographical_location", Numbers({1, 2})), "must be a string");
  ExpectRefused(with("geographical_location", Texts<arrow::BinaryBuilder>({"1", "2"})),
                "column 'geographical_location' is of type binary; it must be a string");
  ExpectRefused(with("latitude", Texts({"north", "south"})),
                "column 'latitude' is of type string; it must be a number");
  ExpectRefused(with("latitude", Doubles({1, std::numeric_limits<double>::infinity()})),
                "row 2: latitude is infinite");
  ExpectRefused(with("time_zone", Numbers({1, 2})), "column 'time_zone' is of type int64");
  ExpectRefused(with("parent", Doubles({1, 2})), "column 'parent' is of type double");
  ExpectRefused(
      File({{"geographical_location_oid", Numbers({})}, {"geographical_location", Texts({})}}),
      "no rows");
  Columns twice = Two();
  twice.push_back(twice[1]);
  ExpectRefused(File(twice), "column 'geographical_location' occurs twice");
  const auto nested = arrow::StructArray::Make({Numbers({1, 2})}, {std::string("v")}).ValueOrDie();
  ExpectRefused(with("geographical_location", nested), "column 'geographical_location' is nested");
  ExpectRefused(with("geographical_location_oid", std::make_shared<arrow::NullArray>(2)),
                "row 1: geographical_location_oid is null");
  EXPECT_TRUE(ParseParquetLocations(with("parent", std::make_shared<arrow::NullArray>(2))).ok());
}

// Cuts the file everywhere and flips every byte: it is refused, or (for bytes that nothing depends
// on) gives the same table.
TEST(ParquetLocations, DamagedFilesAreNeverHalfRead) {
  const std::string file = File(Two());
  for (size_t size = 0; size < file.size(); ++size)
    EXPECT_FALSE(ParseParquetLocations(file.substr(0, size)).ok()) << size;
  ExpectRefused(file.substr(0, file.size() / 2), "damaged or incomplete");
  int32_t refused = 0;
  for (size_t at = 4; at < file.size(); ++at) {
    std::string bytes = file;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    refused += ParseParquetLocations(bytes).ok() ? 0 : 1;  // and it never crashes
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace sightline
