#include "query/row_scan.h"

#include <fmt/format.h>

namespace sightline {
namespace {

struct BindData {
  std::shared_ptr<const RowSource> source;
};
struct ScanState {
  std::unique_ptr<RowCursor> cursor;
  std::vector<size_t> columns;  // projected, by output column
};
template <typename T>
void Delete(void* data) {
  delete static_cast<T*>(data);
}

void Bind(duckdb_bind_info info) {
  auto* scans = static_cast<RowScans*>(duckdb_bind_get_extra_info(info));
  const duck::Value number(duckdb_bind_get_parameter(info, 0));
  auto source = scans->Find(duckdb_get_uint64(number.get()));
  if (source == nullptr) {
    duckdb_bind_set_error(info, "no such rows");
    return;
  }
  for (const ScanColumn& column : source->columns) {
    const duck::LogicalType type(duckdb_create_logical_type(column.type));
    duckdb_bind_add_result_column(info, column.name.c_str(), type.get());
  }
  duckdb_bind_set_bind_data(info, new BindData{std::move(source)}, Delete<BindData>);
}

void Init(duckdb_init_info info) {
  auto* bound = static_cast<BindData*>(duckdb_init_get_bind_data(info));
  auto state = std::make_unique<ScanState>();
  state->cursor = bound->source->open();
  for (idx_t i = 0; i < duckdb_init_get_column_count(info); ++i) {
    state->columns.push_back(duckdb_init_get_column_index(info, i));
  }
  duckdb_init_set_max_threads(info, 1);
  duckdb_init_set_init_data(info, state.release(), Delete<ScanState>);
}

void Put(duckdb_vector vector, duckdb_type type, idx_t row, const ScanCell& cell) {
  void* data = duckdb_vector_get_data(vector);
  if (const auto* text = std::get_if<std::string_view>(&cell)) {
    duckdb_vector_assign_string_element_len(vector, row, text->data(), text->size());
  } else if (const auto* number = std::get_if<int64_t>(&cell)) {
    if (type == DUCKDB_TYPE_INTEGER || type == DUCKDB_TYPE_DATE) {
      static_cast<int32_t*>(data)[row] = static_cast<int32_t>(*number);
    } else {
      static_cast<int64_t*>(data)[row] = *number;
    }
  } else if (const auto* real = std::get_if<double>(&cell)) {
    static_cast<double*>(data)[row] = *real;
  } else if (const auto* truth = std::get_if<bool>(&cell)) {
    static_cast<bool*>(data)[row] = *truth;
  } else {
    duckdb_vector_ensure_validity_writable(vector);
    duckdb_validity_set_row_invalid(duckdb_vector_get_validity(vector), row);
  }
}

void Scan(duckdb_function_info info, duckdb_data_chunk output) {
  auto* bound = static_cast<BindData*>(duckdb_function_get_bind_data(info));
  auto* state = static_cast<ScanState*>(duckdb_function_get_init_data(info));
  const std::vector<ScanColumn>& columns = bound->source->columns;
  const idx_t rows_max = duckdb_vector_size();
  idx_t rows = 0;
  for (; rows < rows_max; ++rows) {
    Result<bool> more = state->cursor->Next();
    if (!more.ok()) {
      duckdb_function_set_error(info, more.status().message().c_str());
      return;
    }
    if (!more.value()) break;
    for (idx_t i = 0; i < state->columns.size(); ++i) {
      const size_t column = state->columns[i];
      if (column >= columns.size()) continue;  // the row number, when only rows are counted
      Put(duckdb_data_chunk_get_vector(output, i), columns[column].type, rows,
          state->cursor->Cell(column));
    }
  }
  duckdb_data_chunk_set_size(output, rows);
}

}  // namespace

Status RowScans::Register(const duck::Connection& connection) {
  using TableFunction = duck::Owned<duckdb_table_function, duckdb_destroy_table_function>;
  const TableFunction function(duckdb_create_table_function());
  const duck::LogicalType number(duckdb_create_logical_type(DUCKDB_TYPE_UBIGINT));
  duckdb_table_function_set_name(function.get(), kRowScanFunction);
  duckdb_table_function_add_parameter(function.get(), number.get());
  duckdb_table_function_set_extra_info(function.get(), this, nullptr);
  duckdb_table_function_set_bind(function.get(), Bind);
  duckdb_table_function_set_init(function.get(), Init);
  duckdb_table_function_set_function(function.get(), Scan);
  duckdb_table_function_supports_projection_pushdown(function.get(), true);
  if (duckdb_register_table_function(connection.get(), function.get()) == DuckDBSuccess) {
    return Status::Ok();
  }
  return Status::Stop("cannot register the table function for rows in memory");
}

RowScans::Handle::~Handle() {
  if (scans_ == nullptr) return;
  const std::lock_guard lock(scans_->mutex_);
  scans_->sources_.erase(number_);
}

std::string RowScans::Handle::Sql() const {
  return fmt::format("{}({}::UBIGINT)", kRowScanFunction, number_);
}

RowScans::Handle RowScans::Add(RowSource source) {
  const std::lock_guard lock(mutex_);
  sources_.emplace(next_, std::make_shared<const RowSource>(std::move(source)));
  return {this, next_++};
}

std::shared_ptr<const RowSource> RowScans::Find(uint64_t number) const {
  const std::lock_guard lock(mutex_);
  const auto found = sources_.find(number);
  return found == sources_.end() ? nullptr : found->second;
}

}  // namespace sightline
