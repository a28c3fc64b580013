// Readers: a pool of reading connections. It grows to the number of threads that read at once, not
// to the number of sources.
//
// Thread-safe. Readers never block the writer, nor does it block them (write-ahead log).
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "connectors/embedded_log/batch_table.h"
#include "connectors/embedded_log/counts_table.h"
#include "connectors/embedded_log/layout.h"
#include "connectors/embedded_log/sqlite.h"

namespace sightline::embedded_log {

struct Reader {
  Database database;  // declared before its statements, which must go first
  BatchReader batches;
  CountsTable counts;
};

class Readers {
 public:
  explicit Readers(std::string path) : path_(std::move(path)) {}

  // Returns the reader to the pool at the end of its scope.
  class Loan {
   public:
    Loan(Readers& readers, std::unique_ptr<Reader> reader)
        : readers_(&readers), reader_(std::move(reader)) {}
    Loan(Loan&&) noexcept = default;
    Loan& operator=(Loan&&) = delete;
    ~Loan() {
      if (reader_ != nullptr) readers_->Return(std::move(reader_));
    }
    Reader* operator->() const { return reader_.get(); }

   private:
    Readers* readers_;
    std::unique_ptr<Reader> reader_;
  };

  Result<Loan> Borrow() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<Reader> reader = std::move(idle_.back());
        idle_.pop_back();
        return Loan(*this, std::move(reader));
      }
    }
    Result<Database> database = OpenForReading(path_);
    if (!database.ok()) return database.status();
    auto reader = std::make_unique<Reader>();
    reader->database = std::move(database).value();
    Result<BatchReader> batches = BatchReader::Create(reader->database);
    if (!batches.ok()) return batches.status();
    reader->batches = std::move(batches).value();
    Result<CountsTable> counts = CountsTable::Create(reader->database);
    if (!counts.ok()) return counts.status();
    reader->counts = std::move(counts).value();
    return Loan(*this, std::move(reader));
  }

 private:
  void Return(std::unique_ptr<Reader> reader) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(reader));
  }

  const std::string path_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Reader>> idle_;
};

}  // namespace sightline::embedded_log
