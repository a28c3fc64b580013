// RAII around DuckDB's C API. Seen by this room only.
#pragma once

#include <duckdb.h>

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/status.h"

namespace sightline::duck {

// A handle of the C API that `Destroy(&handle)` ends.
template <typename Handle, void (*Destroy)(Handle*)>
class Owned {
 public:
  Owned() = default;
  explicit Owned(Handle handle) : handle_(handle) {}
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() {
    if (handle_ != nullptr) Destroy(&handle_);
  }
  Handle get() const { return handle_; }
  Handle* out() { return &handle_; }
  explicit operator bool() const { return handle_ != nullptr; }

 private:
  Handle handle_ = nullptr;
};

using Database = Owned<duckdb_database, duckdb_close>;
using Connection = Owned<duckdb_connection, duckdb_disconnect>;
using Statements = Owned<duckdb_extracted_statements, duckdb_destroy_extracted>;
using Prepared = Owned<duckdb_prepared_statement, duckdb_destroy_prepare>;
using Chunk = Owned<duckdb_data_chunk, duckdb_destroy_data_chunk>;
using LogicalType = Owned<duckdb_logical_type, duckdb_destroy_logical_type>;
using Value = Owned<duckdb_value, duckdb_destroy_value>;

// A result; not movable, because DuckDB keeps its address while it streams.
class ResultSet {
 public:
  ResultSet() = default;
  ResultSet(const ResultSet&) = delete;
  ResultSet& operator=(const ResultSet&) = delete;
  ~ResultSet() { duckdb_destroy_result(&result_); }
  duckdb_result* out() { return &result_; }
  duckdb_result& get() { return result_; }

 private:
  duckdb_result result_{};
};

// DuckDB in memory with `settings` (name, value). kStop names the setting that it refuses.
using Settings = std::vector<std::pair<std::string, std::string>>;
Result<Database> Open(const Settings& settings);
Result<Connection> Connect(const Database& database);

// Runs one statement of ours; kStop with DuckDB's message.
Status Execute(const Connection& connection, const std::string& sql);
Result<Prepared> Prepare(const Connection& connection, const std::string& sql);
// One text, by position. For answers of one cell.
Result<std::string> QueryText(const Connection& connection, const std::string& sql,
                              std::string_view parameter);

std::string_view TextAt(const void* data, idx_t row);
inline bool ValidAt(uint64_t* validity, idx_t row) {
  return validity == nullptr || duckdb_validity_row_is_valid(validity, row);
}

// 'text' as an SQL literal.
std::string Quoted(std::string_view text);

}  // namespace sightline::duck
