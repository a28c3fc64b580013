// RowScan: rows of ours as a DuckDB table, read in place by the table function kRowScanFunction.
//
// The function's only parameter is the number inside a Handle; users cannot call it, because the
// guard allows only the table functions that it knows.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <variant>
#include <vector>

#include "query/duck.h"
#include "query/result_table.h"

namespace sightline {

constexpr const char* kRowScanFunction = "sightline_rows";

struct ScanColumn {
  std::string name;
  duckdb_type type;  // BOOLEAN, INTEGER, BIGINT, DOUBLE, VARCHAR, DATE, TIMESTAMP, TIMESTAMP_TZ
};
// Of the column's type; times in microseconds, dates in days. Text lives until the next Next().
using ScanCell = std::variant<std::monostate, bool, int64_t, double, std::string_view>;

// One pass over rows. One thread at a time.
class RowCursor {
 public:
  virtual ~RowCursor() = default;
  virtual Result<bool> Next() = 0;  // false: no more rows
  virtual ScanCell Cell(size_t column) const = 0;
};

struct RowSource {
  std::vector<ScanColumn> columns;
  std::function<std::unique_ptr<RowCursor>()>
      open;  // what it reads must live as long as its handle
};

// The row sources of one database. Thread-safe; outlives the database.
class RowScans {
 public:
  // Once for each database, before any query.
  Status Register(const duck::Connection& connection);

  // The source stays registered until its handle is destroyed.
  class Handle {
   public:
    Handle(RowScans* scans, uint64_t number) : scans_(scans), number_(number) {}
    Handle(Handle&& other) noexcept
        : scans_(std::exchange(other.scans_, nullptr)), number_(other.number_) {}
    Handle& operator=(Handle&&) = delete;
    ~Handle();
    std::string Sql() const;  // the call, to stand in a FROM clause

   private:
    RowScans* scans_;
    uint64_t number_;
  };
  Handle Add(RowSource source);
  std::shared_ptr<const RowSource> Find(uint64_t number) const;

 private:
  mutable std::mutex mutex_;
  uint64_t next_ = 1;
  std::map<uint64_t, std::shared_ptr<const RowSource>> sources_;
};

}  // namespace sightline
