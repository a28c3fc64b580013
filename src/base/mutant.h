// Planted bugs. The simulator must catch every one of them, or it proves nothing.
//
// Only the simulator's own build of the engine (SIGHTLINE_MUTANTS) can switch one on; everywhere
// else Mutated() is the constant false and the compiler removes the branch.
#pragma once

#include <cstdint>

namespace sightline {

enum class Mutant : uint8_t {
  kNone,
  kNoFence,            // sinks do not look at the fence
  kNoClaim,            // start without a claim in the checkpoint store
  kFenceFirst,         // fence, then claim
  kNoSecondLook,       // do not look at the claim again after the fences
  kNoCompareAndSet,    // sinks do not compare their committed offset
  kSealBeforeS,        // replay does not cut at the committed offsets
  kOneAccumulator,     // sealed segments are merged whatever the sinks have committed
  kReplayOutputOn,     // a sink is sent again what it has
  kLoseDedup,          // checkpoints forget the remembered ids
  kResetFields,        // recovery by resetting fields instead of building a new task
  kPartitionLateness,  // the partition's watermark decides lateness
  kLastCopy,           // memory keeps the last copy's time, not the greatest
  kBatchWatermark,     // lateness depends on how Poll() cuts the stream
  kWholeRun,           // a sink is given a spilled run from its beginning, whatever it has of it
  kSpillBeforePut,     // segments leave memory before their run is durable
  kRunsRemovedEarly,   // a run is removed while the newest checkpoint still names it
  kGapTwice,           // each part of a gap that is cut at a sink's offset says that all is lost
  kGapStraddles,       // a gap is not cut at the committed offsets
  kZombieRemovesRuns,  // whoever believes to own the partition removes what it does not know
};

#ifdef SIGHTLINE_MUTANTS
inline Mutant planted_mutant = Mutant::kNone;  // set before a run; the simulator has one thread
inline bool Mutated(Mutant mutant) { return planted_mutant == mutant; }
#else
constexpr bool Mutated(Mutant) { return false; }
#endif

}  // namespace sightline
