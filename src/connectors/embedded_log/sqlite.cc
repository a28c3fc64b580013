#include "connectors/embedded_log/sqlite.h"

#include <fmt/format.h>

#include <cstring>

namespace sightline::embedded_log {
Status ToStatus(sqlite3* database, int code, std::string_view doing) {
  const char* path = database != nullptr ? sqlite3_db_filename(database, "main") : nullptr;
  const char* reason = database != nullptr ? sqlite3_errmsg(database) : sqlite3_errstr(code);
  std::string message =
      fmt::format("cannot {} in '{}': {}", doing, path != nullptr ? path : "", reason);
  switch (code & 0xff) {
    case SQLITE_FULL:
      return Status::Retry(message + "; free some disk space: the log then continues by itself");
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN: {
      const int error = database != nullptr ? sqlite3_system_errno(database) : 0;
      // SQLite's own text is general ("disk I/O error"). The system's error says why.
      if (error != 0) message += fmt::format(" ({})", std::strerror(error));
      return Status::Retry(message);
    }
    // These pass by themselves.
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_NOMEM:
    case SQLITE_INTERRUPT:
      return Status::Retry(message);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Status::Stop(
          message +
          "; restore the data directory from a copy, or move it away and start with an empty one");
    default:
      return Status::Stop(message);
  }
}

Result<bool> Statement::Step() {
  sqlite3* database = sqlite3_db_handle(handle_.get());
  if (bind_code_ != SQLITE_OK) return ToStatus(database, bind_code_, doing_);
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return ToStatus(database, code, doing_);
}

Status Statement::Run() {
  Result<bool> step = Step();
  Reset();
  if (!step.ok()) return step.status();
  CHECK(!step.value());
  return Status::Ok();
}

void Statement::Reset() {
  sqlite3_reset(handle_.get());
  bind_code_ = SQLITE_OK;
}

std::string_view Statement::Blob(int column) const {
  const void* data = sqlite3_column_blob(handle_.get(), column);
  if (data == nullptr) return {};
  return {static_cast<const char*>(data),
          static_cast<size_t>(sqlite3_column_bytes(handle_.get(), column))};
}

void Statement::BindOne(int index, int64_t value) {
  if (const int code = sqlite3_bind_int64(handle_.get(), index, value)) bind_code_ = code;
}

void Statement::BindOne(int index, std::string_view text) {
  const int code = sqlite3_bind_text64(handle_.get(), index, text.data(), text.size(),
                                       SQLITE_STATIC, SQLITE_UTF8);
  if (code != SQLITE_OK) bind_code_ = code;
}

void Statement::BindOne(int index, Bytes bytes) {
  // A null pointer would bind NULL, but an empty blob must stay an empty blob.
  const char* data = bytes.view.empty() ? "" : bytes.view.data();
  const int code =
      sqlite3_bind_blob64(handle_.get(), index, data, bytes.view.size(), SQLITE_STATIC);
  if (code != SQLITE_OK) bind_code_ = code;
}

Result<Database> Database::Open(const std::string& path, Mode mode) {
  const int access =
      mode == Mode::kWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &handle, access | SQLITE_OPEN_NOMUTEX, nullptr);
  Database database;
  database.handle_.reset(handle);
  if (code != SQLITE_OK) return ToStatus(handle, code, fmt::format("open '{}'", path));
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  return database;
}

Status Database::Execute(const std::string& sql, std::string_view doing) {
  const int code = sqlite3_exec(handle(), sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? Status::Ok() : ToStatus(handle(), code, doing);
}

Result<Statement> Database::Prepare(std::string_view sql, std::string_view doing) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return ToStatus(handle(), code, doing);
  return Statement(statement, doing);
}

Result<int64_t> Database::ReadInt(const std::string& sql, std::string_view doing) {
  Result<Statement> statement = Prepare(sql, doing);
  if (!statement.ok()) return statement.status();
  Result<bool> row = statement.value().Step();
  if (!row.ok()) return row.status();
  return row.value() ? statement.value().Int(0) : int64_t{0};
}

Result<std::string> Database::ReadText(const std::string& sql, std::string_view doing) {
  Result<Statement> statement = Prepare(sql, doing);
  if (!statement.ok()) return statement.status();
  Result<bool> row = statement.value().Step();
  if (!row.ok()) return row.status();
  return row.value() ? std::string(statement.value().Blob(0)) : std::string();
}

}  // namespace sightline::embedded_log
