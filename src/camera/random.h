// Random: random numbers for this room; a seed gives the same ones on every machine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace sightline {

// splitmix64 (Steele, Lea, Flood 2014). Not thread-safe; not for secrets.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t x = (state_ += 0x9E3779B97F4A7C15ull);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
  }
  // In [0, 1).
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }
  // In [first, end). The remainder makes it slightly biased, which does not matter here.
  int64_t Between(int64_t first, int64_t end) {
    return first + static_cast<int64_t>(Next() % static_cast<uint64_t>(end - first));
  }
  bool Chance(double probability) { return Uniform() < probability; }
  // Knuth's multiplication method (TAOCP 3.4.1), in pieces so that exp() does not underflow.
  int64_t Poisson(double mean) {
    int64_t count = 0;
    for (; mean > 0; mean -= kPoissonPiece) {
      const double limit = std::exp(-std::min(mean, kPoissonPiece));
      for (double product = Uniform(); product > limit; product *= Uniform()) ++count;
    }
    return count;
  }

 private:
  static constexpr double kPoissonPiece = 30;
  uint64_t state_;
};

}  // namespace sightline
