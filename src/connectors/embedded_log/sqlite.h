// Database and Statement: sqlite3 with owned handles, and with Status instead of result codes. Only
// this header and layout.h expose sqlite3, and only to this room.
//
// A Database and its statements are used by one thread at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sightline::embedded_log {

// How long a call waits for another process that has locked the file, which nobody should.
constexpr int kBusyTimeoutMs = 1000;

struct Bytes {
  std::string_view view;
};

// Turns a failed call into a Status. A full disk, an I/O error and a busy file are kRetry: the
// transaction is rolled back and nothing happened. Damage is kStop. `doing` is a verb: "cannot
// <doing> in '<file>'".
Status ToStatus(sqlite3* database, int code, std::string_view doing);

class Statement {
 public:
  Statement() = default;
  Statement(sqlite3_stmt* statement, std::string_view doing) : handle_(statement), doing_(doing) {}

  // Binds the parameters 1..n in order, and forgets an earlier run. The values are not copied: they
  // must live until the run is over.
  template <typename... Values>
  Statement& Bind(const Values&... values) {
    Reset();
    int index = 0;
    (BindOne(++index, values), ...);
    return *this;
  }
  // True if there is a row; it is valid until the next call.
  Result<bool> Step();
  // Runs a statement that returns no rows.
  Status Run();
  // Ends the run. A reader that forgets to call it keeps the write-ahead log from starting over.
  void Reset();

  int64_t Int(int column) const { return sqlite3_column_int64(handle_.get(), column); }
  std::string_view Blob(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  void BindOne(int index, int64_t value);
  void BindOne(int index, std::string_view text);
  void BindOne(int index, Bytes bytes);

  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
  std::string doing_;
  int bind_code_ = SQLITE_OK;
};

// Resets a statement at the end of a scope.
class RowsOf {
 public:
  explicit RowsOf(Statement& statement) : statement_(statement) {}
  ~RowsOf() { statement_.Reset(); }
  RowsOf(const RowsOf&) = delete;
  RowsOf& operator=(const RowsOf&) = delete;

 private:
  Statement& statement_;
};

class Database {
 public:
  enum class Mode { kWrite, kRead };
  static Result<Database> Open(const std::string& path, Mode mode);

  Status Execute(const std::string& sql, std::string_view doing);
  Result<Statement> Prepare(std::string_view sql, std::string_view doing);
  // Reads the only value of the only row; 0 or empty if there is no row.
  Result<int64_t> ReadInt(const std::string& sql, std::string_view doing);
  Result<std::string> ReadText(const std::string& sql, std::string_view doing);
  sqlite3* handle() const { return handle_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
  };
  std::unique_ptr<sqlite3, Close> handle_;
};

}  // namespace sightline::embedded_log
