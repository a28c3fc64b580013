#include "query/duck.h"

#include <fmt/format.h>

namespace sightline::duck {
namespace {

std::string MessageOf(const char* message) {
  return message == nullptr ? "unknown error" : message;
}

}  // namespace

Result<Database> Open(const Settings& settings) {
  Owned<duckdb_config, duckdb_destroy_config> config;
  if (duckdb_create_config(config.out()) != DuckDBSuccess) return Status::Stop("out of memory");
  for (const auto& [name, value] : settings) {
    if (duckdb_set_config(config.get(), name.c_str(), value.c_str()) != DuckDBSuccess) {
      return Status::Stop(fmt::format("DuckDB has no setting '{}' of value '{}'", name, value));
    }
  }
  Database database;
  char* message = nullptr;
  if (duckdb_open_ext(nullptr, database.out(), config.get(), &message) != DuckDBSuccess) {
    Status failed = Status::Stop("cannot start DuckDB: " + MessageOf(message));
    duckdb_free(message);
    return failed;
  }
  return database;
}

Result<Connection> Connect(const Database& database) {
  Connection connection;
  if (duckdb_connect(database.get(), connection.out()) != DuckDBSuccess) {
    return Status::Stop("cannot connect to DuckDB");
  }
  return connection;
}

Status Execute(const Connection& connection, const std::string& sql) {
  ResultSet result_set;
  if (duckdb_query(connection.get(), sql.c_str(), result_set.out()) == DuckDBSuccess)
    return Status::Ok();
  return Status::Stop(MessageOf(duckdb_result_error(result_set.out())));
}

Result<Prepared> Prepare(const Connection& connection, const std::string& sql) {
  Prepared prepared;
  if (duckdb_prepare(connection.get(), sql.c_str(), prepared.out()) == DuckDBSuccess)
    return prepared;
  return Status::Stop(MessageOf(duckdb_prepare_error(prepared.get())));
}

Result<std::string> QueryText(const Connection& connection, const std::string& sql,
                              std::string_view parameter) {
  Result<Prepared> prepared = Prepare(connection, sql);
  if (!prepared.ok()) return prepared.status();
  duckdb_bind_varchar_length(prepared.value().get(), 1, parameter.data(), parameter.size());
  ResultSet result_set;
  if (duckdb_execute_prepared(prepared.value().get(), result_set.out()) != DuckDBSuccess) {
    return Status::Stop(MessageOf(duckdb_result_error(result_set.out())));
  }
  Chunk chunk(duckdb_fetch_chunk(result_set.get()));
  if (!chunk || duckdb_data_chunk_get_size(chunk.get()) == 0) return std::string();
  duckdb_vector vector = duckdb_data_chunk_get_vector(chunk.get(), 0);
  if (!ValidAt(duckdb_vector_get_validity(vector), 0)) return std::string();
  return std::string(TextAt(duckdb_vector_get_data(vector), 0));
}

std::string_view TextAt(const void* data, idx_t row) {
  auto* text = static_cast<duckdb_string_t*>(const_cast<void*>(data)) + row;
  return {duckdb_string_t_data(text), duckdb_string_t_length(*text)};
}

std::string Quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += c;
  }
  return out + "'";
}

}  // namespace sightline::duck
