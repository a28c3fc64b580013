// ParseAndCheck: no text makes it crash, and what it accepts is a single statement that DuckDB
// itself classifies as a SELECT. DuckDB is not instrumented.

#include <cstdint>
#include <string>

#include "base/check.h"
#include "fuzz_input.h"
#include "query/parsed_sql.h"

namespace sightline {
namespace {

struct Database {
  Database()
      : database(duck::Open({{"threads", "1"}, {"enable_external_access", "false"}}).value()),
        connection(duck::Connect(database).value()),
        guard(GuardFor(connection, {"item_counts", "locations"}).value()) {
    CHECK(duck::Execute(connection,
                        "CREATE TABLE item_counts (geographical_location_oid BIGINT, "
                        "date DATE, item_name VARCHAR, window_start TIMESTAMPTZ, "
                        "item_count BIGINT)")
              .ok());
    CHECK(duck::Execute(connection, "CREATE TABLE locations (geographical_location_oid BIGINT)")
              .ok());
  }
  duck::Database database;
  duck::Connection connection;
  SqlGuard guard;
};

void Check(std::string_view bytes) {
  static Database* const database = new Database;
  const FuzzInput input(bytes, 0, '\0');
  const Result<CheckedSql> checked =
      ParseAndCheck(database->connection, database->guard, input.view());
  if (!checked.ok()) {
    CHECK(!checked.status().message().empty());
    return;
  }
  const std::string sql(input.view());
  duck::Statements statements;
  CHECK(duckdb_extract_statements(database->connection.get(), sql.c_str(), statements.out()) == 1);
  duck::Prepared prepared;
  // DuckDB, not the guard, refuses a SELECT that does not bind (an unknown column).
  if (duckdb_prepare_extracted_statement(database->connection.get(), statements.get(), 0,
                                         prepared.out()) != DuckDBSuccess)
    return;
  CHECK(duckdb_prepared_statement_type(prepared.get()) == DUCKDB_STATEMENT_TYPE_SELECT);
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::Check(sightline::ViewOf(data, size));
  return 0;
}
