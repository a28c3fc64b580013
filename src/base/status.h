// Status and Result: the outcome of a call.
//
// The code tells the caller what to do next, so that nobody has to parse a message. Bad data is
// never an error: it is an outcome in the ledger.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace sightline {

enum class StatusCode : uint8_t {
  kOk,
  kRetry,    // call again later: nothing happened, or repeating the call is harmless
  kRebuild,  // discard the task and build a new one: fenced, refused, or outcome unknown
  kStop,     // a person must act: going on would lose or double data, or input is unusable
};

class [[nodiscard]] Status {
 public:
  static Status Ok() { return {StatusCode::kOk, {}}; }
  static Status Retry(std::string message) { return {StatusCode::kRetry, std::move(message)}; }
  static Status Rebuild(std::string message) { return {StatusCode::kRebuild, std::move(message)}; }
  static Status Stop(std::string message) { return {StatusCode::kStop, std::move(message)}; }

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}
  StatusCode code_;
  std::string message_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}        // NOLINT: implicit on purpose
  Result(Status status) : value_(std::move(status)) {  // NOLINT: implicit on purpose
    CHECK(!std::get<Status>(value_).ok());
  }
  bool ok() const { return value_.index() == 0; }
  Status status() const { return ok() ? Status::Ok() : std::get<1>(value_); }
  const T& value() const& {
    CHECK(ok());
    return std::get<0>(value_);
  }
  T& value() & {
    CHECK(ok());
    return std::get<0>(value_);
  }
  T&& value() && {
    CHECK(ok());
    return std::move(std::get<0>(value_));
  }

 private:
  std::variant<T, Status> value_;
};

}  // namespace sightline

#define RETURN_IF_ERROR(expression)                                                \
  do {                                                                             \
    if (::sightline::Status status_ = (expression); !status_.ok()) return status_; \
  } while (0)
