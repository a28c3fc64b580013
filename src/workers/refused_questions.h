// RefusedQuestions: the questions that ended their worker, which are not asked again for a while.
// Thread-safe.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "query/query_engine.h"

namespace sightline {

class RefusedQuestions {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::minutes kRefused{10};
  static constexpr size_t kQuestionsMax = 200;  // of 64 KiB; beyond it, the oldest is forgotten

  struct Refusal {
    QueryLimit limit = QueryLimit::kNone;
    std::string why;  // what it did when it was asked
  };
  void Add(std::string_view sql, Refusal refusal, Time now);
  std::optional<Refusal> Find(std::string_view sql, Time now);

 private:
  struct Refused {
    Time until;
    Refusal refusal;
  };
  std::mutex mutex_;
  // By the whole text: with a hash, one could have another's question refused. Under mutex_.
  std::map<std::string, Refused, std::less<>> questions_;
};

}  // namespace sightline
