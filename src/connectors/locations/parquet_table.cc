#include "connectors/locations/parquet_table.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/util/utf8.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <unordered_map>
#include <utility>

namespace sightline {
namespace {

// A small file can unpack to a large table. A location table is never this large.
constexpr int64_t kRowsMax = 10'000'000;
constexpr int64_t kUnpackedBytesMax = int64_t{1} << 30;

enum Known : size_t { kOid, kName, kLatitude, kLongitude, kTimeZone, kParent, kKnownColumns };
constexpr std::array<std::string_view, kKnownColumns> kNames = {"geographical_location_oid",
                                                                "geographical_location",
                                                                "latitude",
                                                                "longitude",
                                                                "time_zone",
                                                                "parent"};

bool IsInteger(const arrow::DataType& type) { return arrow::is_integer(type.id()); }
bool IsNumber(const arrow::DataType& type) {
  return IsInteger(type) || type.id() == arrow::Type::FLOAT || type.id() == arrow::Type::DOUBLE;
}
bool IsText(const arrow::DataType& type) {
  if (type.id() == arrow::Type::DICTIONARY)
    return IsText(*static_cast<const arrow::DictionaryType&>(type).value_type());
  return type.id() == arrow::Type::STRING || type.id() == arrow::Type::LARGE_STRING ||
         type.id() == arrow::Type::STRING_VIEW;
}

Status CheckType(size_t known, const arrow::DataType& type) {
  // A column that contains only nulls has no type. Where values are required, the rows report it.
  if (type.id() == arrow::Type::NA) return Status::Ok();
  const bool text = known == kName || known == kTimeZone;
  const bool number = known == kLatitude || known == kLongitude;
  if (text ? IsText(type) : number ? IsNumber(type) : IsInteger(type)) return Status::Ok();
  return Status::Stop(fmt::format("column '{}' is of type {}; it must be {}", kNames[known],
                                  type.ToString(),
                                  text     ? "a string"
                                  : number ? "a number"
                                           : "an integer"));
}

// One column, read value by value in the order of its rows.
class Cursor {
 public:
  explicit Cursor(std::shared_ptr<arrow::ChunkedArray> column) : column_(std::move(column)) {}
  Cursor() = default;  // an absent column: every value is null

  void Next() {
    if (column_ == nullptr) return;
    ++row_;
    while (chunk_ < column_->num_chunks() && row_ >= column_->chunk(chunk_)->length()) {
      ++chunk_;
      row_ = 0;
    }
  }
  bool IsNull() const { return column_ == nullptr || !array().IsValid(row_); }

  // nullopt: the value is beyond 64 signed bits.
  std::optional<int64_t> Integer() const {
    switch (array().type_id()) {
      case arrow::Type::INT8:
        return As<arrow::Int8Array>().Value(row_);
      case arrow::Type::INT16:
        return As<arrow::Int16Array>().Value(row_);
      case arrow::Type::INT32:
        return As<arrow::Int32Array>().Value(row_);
      case arrow::Type::UINT8:
        return As<arrow::UInt8Array>().Value(row_);
      case arrow::Type::UINT16:
        return As<arrow::UInt16Array>().Value(row_);
      case arrow::Type::UINT32:
        return As<arrow::UInt32Array>().Value(row_);
      case arrow::Type::UINT64: {
        const uint64_t value = As<arrow::UInt64Array>().Value(row_);
        if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
        return static_cast<int64_t>(value);
      }
      default:
        return As<arrow::Int64Array>().Value(row_);
    }
  }
  std::optional<double> Number() const {
    if (array().type_id() == arrow::Type::DOUBLE) return As<arrow::DoubleArray>().Value(row_);
    if (array().type_id() == arrow::Type::FLOAT) return As<arrow::FloatArray>().Value(row_);
    const std::optional<int64_t> value = Integer();
    return value ? std::optional<double>(static_cast<double>(*value)) : std::nullopt;
  }
  std::string_view Text() const { return TextOf(array(), row_); }

 private:
  const arrow::Array& array() const { return *column_->chunk(chunk_); }
  template <typename Array>
  const Array& As() const {
    return static_cast<const Array&>(array());
  }
  static std::string_view TextOf(const arrow::Array& array, int64_t row) {
    switch (array.type_id()) {
      case arrow::Type::DICTIONARY: {
        const auto& indices = static_cast<const arrow::DictionaryArray&>(array);
        return TextOf(*indices.dictionary(), indices.GetValueIndex(row));
      }
      case arrow::Type::LARGE_STRING:
        return static_cast<const arrow::LargeStringArray&>(array).GetView(row);
      case arrow::Type::STRING_VIEW:
        return static_cast<const arrow::StringViewArray&>(array).GetView(row);
      default:
        return static_cast<const arrow::StringArray&>(array).GetView(row);
    }
  }

  std::shared_ptr<arrow::ChunkedArray> column_;
  int chunk_ = 0;
  int64_t row_ = -1;  // before the first row
};

using Cursors = std::array<Cursor, kKnownColumns>;

Status BadRow(int64_t row, std::string_view what) {
  return Status::Stop(fmt::format("row {}: {}", row, what));
}

Result<Location> ReadRow(const Cursors& columns, int64_t row) {
  Location location;
  for (const size_t known : {kOid, kName})
    if (columns[known].IsNull()) return BadRow(row, fmt::format("{} is null", kNames[known]));
  const auto integer = [&](size_t known) -> Result<int64_t> {
    const std::optional<int64_t> value = columns[known].Integer();
    if (!value) return BadRow(row, fmt::format("{} is beyond 64 signed bits", kNames[known]));
    return *value;
  };
  const auto number = [&](size_t known) -> std::optional<double> {
    if (columns[known].IsNull()) return std::nullopt;
    const std::optional<double> value = columns[known].Number();
    return value && !std::isnan(*value) ? value : std::nullopt;
  };
  const Result<int64_t> oid = integer(kOid);
  if (!oid.ok()) return oid.status();
  location.location = {oid.value()};
  location.name = columns[kName].Text();
  if (location.name.empty()) return BadRow(row, "geographical_location is empty");
  if (!columns[kTimeZone].IsNull()) location.time_zone = columns[kTimeZone].Text();
  if (!arrow::util::ValidateUTF8(location.name) || !arrow::util::ValidateUTF8(location.time_zone))
    return BadRow(row, "not valid UTF-8");
  location.latitude = number(kLatitude);
  location.longitude = number(kLongitude);
  for (const auto& [known, value] :
       {std::pair{kLatitude, location.latitude}, std::pair{kLongitude, location.longitude}})
    if (value && std::isinf(*value))
      return BadRow(row, fmt::format("{} is infinite", kNames[known]));
  if (!columns[kParent].IsNull()) {
    const Result<int64_t> parent = integer(kParent);
    if (!parent.ok()) return parent.status();
    location.parent = LocationId{parent.value()};
  }
  return location;
}

Result<std::vector<Location>> ReadRows(const arrow::Table& table) {
  Cursors columns;
  for (size_t known = 0; known < kKnownColumns; ++known)
    if (auto column = table.GetColumnByName(std::string(kNames[known])); column != nullptr) {
      RETURN_IF_ERROR(CheckType(known, *column->type()));
      if (column->type()->id() != arrow::Type::NA) columns[known] = Cursor(std::move(column));
    }
  std::vector<Location> locations;
  locations.reserve(static_cast<size_t>(table.num_rows()));
  std::unordered_map<int64_t, int64_t> row_of;
  for (int64_t row = 1; row <= table.num_rows(); ++row) {
    for (Cursor& column : columns) column.Next();
    Result<Location> location = ReadRow(columns, row);
    if (!location.ok()) return location.status();
    const int64_t oid = location.value().location.v;
    const auto [it, is_new] = row_of.try_emplace(oid, row);
    if (!is_new)
      return BadRow(
          row,
          fmt::format("geographical_location_oid {} occurs already in row {}: remove one of them",
                      oid, it->second));
    locations.push_back(std::move(location).value());
  }
  if (locations.empty()) return Status::Stop("the table has columns but no rows");
  return locations;
}

// Chooses the leaves of the known columns. kStop if one is missing, occurs twice, or is nested.
Result<std::vector<int>> ChooseLeaves(const parquet::FileMetaData& file) {
  std::vector<int> leaves;
  std::array<int, kKnownColumns> found{};
  std::vector<std::string> all;
  const parquet::schema::GroupNode& root = *file.schema()->group_node();
  for (int field = 0; field < root.field_count(); ++field) {
    const std::string& name = root.field(field)->name();
    all.push_back(name);
    for (size_t known = 0; known < kKnownColumns; ++known) {
      if (name != kNames[known]) continue;
      if (++found[known] > 1) return Status::Stop(fmt::format("column '{}' occurs twice", name));
      if (!root.field(field)->is_primitive())
        return Status::Stop(fmt::format("column '{}' is nested; it must hold plain values", name));
    }
  }
  for (const size_t known : {kOid, kName})
    if (found[known] == 0)
      return Status::Stop(fmt::format("column '{}' is missing; the columns are '{}'", kNames[known],
                                      fmt::join(all, "', '")));
  for (int leaf = 0; leaf < file.num_columns(); ++leaf)
    for (const std::string_view name : kNames)
      if (file.schema()->GetColumnRoot(leaf)->name() == name) leaves.push_back(leaf);
  return leaves;
}

Status CheckSize(const parquet::FileMetaData& file, const std::vector<int>& leaves) {
  if (file.num_rows() > kRowsMax)
    return Status::Stop(
        fmt::format("it has {} rows; at most {} are accepted", file.num_rows(), kRowsMax));
  int64_t bytes = 0;
  for (int group = 0; group < file.num_row_groups(); ++group)
    for (const int leaf : leaves)
      // The file's own claim, checked before anything is unpacked.
      bytes += file.RowGroup(group)->ColumnChunk(leaf)->total_uncompressed_size();
  if (bytes > kUnpackedBytesMax)
    return Status::Stop(fmt::format("it unpacks to {} bytes; at most 1 GiB is accepted", bytes));
  return Status::Ok();
}

Status Damaged(std::string_view why) {
  return Status::Stop(fmt::format("the Parquet file is damaged or incomplete ({})", why));
}

Result<std::vector<Location>> Parse(std::string bytes) {
  auto input =
      std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::move(bytes)));
  auto properties = parquet::default_reader_properties();
  properties.set_page_checksum_verification(true);
  parquet::arrow::FileReaderBuilder builder;
  if (const auto opened = builder.Open(std::move(input), properties); !opened.ok())
    return Damaged(opened.message());
  auto reader = builder.Build();
  if (!reader.ok()) return Damaged(reader.status().message());
  const parquet::FileMetaData& file = *(*reader)->parquet_reader()->metadata();
  const Result<std::vector<int>> leaves = ChooseLeaves(file);
  if (!leaves.ok()) return leaves.status();
  RETURN_IF_ERROR(CheckSize(file, leaves.value()));
  const auto table = (*reader)->ReadTable(leaves.value());
  if (!table.ok()) return Damaged(table.status().message());
  if (const auto valid = (*table)->Validate(); !valid.ok()) return Damaged(valid.message());
  return ReadRows(**table);
}

}  // namespace

bool LooksLikeParquet(std::string_view bytes) {
  return bytes.starts_with("PAR1") || bytes.starts_with("PARE");
}

Result<std::vector<Location>> ParseParquetLocations(std::string bytes) {
  arrow::util::InitializeUTF8();
  try {
    return Parse(std::move(bytes));
  } catch (const std::exception& error) {  // thrown by libparquet where Arrow does not catch it
    return Damaged(error.what());
  }
}

}  // namespace sightline
