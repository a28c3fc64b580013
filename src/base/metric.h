// What a process reports about itself: metrics, and whether it is healthy. Values.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sightline {

// One metric for /metrics. Each room adds its own when it is asked.
struct Metric {
  std::string name;  // sightline_..._total, ..._bytes, ..._seconds
  std::string help;
  enum class Type : uint8_t { kCounter, kGauge } type = Type::kCounter;
  std::vector<std::pair<std::string, std::string>> labels;
  double value = 0;

  static Metric Counter(std::string name, std::string help, int64_t value) {
    return {.name = std::move(name), .help = std::move(help), .value = static_cast<double>(value)};
  }
  static Metric Gauge(std::string name, std::string help, int64_t value) {
    return {.name = std::move(name),
            .help = std::move(help),
            .type = Type::kGauge,
            .value = static_cast<double>(value)};
  }
};

struct Health {
  bool ok = true;
  std::vector<std::string> reasons;  // why it is not ok, or what is degraded

  void Fail(std::string reason) {
    ok = false;
    reasons.push_back(std::move(reason));
  }
  // A trouble that is empty is none.
  void FailIf(std::string trouble) {
    if (!trouble.empty()) Fail(std::move(trouble));
  }
};

}  // namespace sightline
