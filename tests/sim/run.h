// One seed: a topic, a world for each of its partitions, and everything that goes wrong in it.
#pragma once

#include <cstdint>

namespace sightline::sim {

// Throws a Violation if the seed fails.
void RunSeed(uint64_t seed);

}  // namespace sightline::sim
