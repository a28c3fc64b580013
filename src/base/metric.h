// What a process tells of itself: metrics, and whether it is well. Values.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sightline {

// One metric for /metrics; the app gathers them from every room when asked.
struct Metric {
  std::string name;  // sightline_..._total, ..._bytes, ..._seconds
  std::string help;
  enum class Type : uint8_t { kCounter, kGauge } type = Type::kCounter;
  std::vector<std::pair<std::string, std::string>> labels;
  double value = 0;
};

struct Health {
  bool ok = true;
  std::vector<std::string> reasons;  // why not, or what is degraded
};

}  // namespace sightline
