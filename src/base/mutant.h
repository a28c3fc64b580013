// Planted bugs. The simulator must catch every one of them; otherwise its passing proves nothing.
//
// Only the simulator's own build of the engine (SIGHTLINE_MUTANTS) can switch one on. Everywhere
// else Mutated() is the constant false, and the compiler removes the branch.
#pragma once

#include <cstdint>

namespace sightline {

enum class Mutant : uint8_t {
  kNone,
  kNoFence,            // sinks ignore the fence
  kNoClaim,            // a task starts without a claim in the checkpoint store
  kFenceFirst,         // a task fences first and claims afterwards
  kNoSecondLook,       // a task does not check its claim again after the fences
  kNoCompareAndSet,    // sinks do not compare their committed offset
  kSealBeforeS,        // replay does not cut segments at the sinks' committed offsets
  kOneAccumulator,     // sealed segments are merged regardless of what the sinks have committed
  kReplayOutputOn,     // a sink is sent segments that it already has
  kLoseDedup,          // checkpoints forget the remembered ids
  kResetFields,        // recovery by resetting fields instead of building a new task
  kPartitionLateness,  // the partition's watermark decides lateness
  kLastCopy,           // an id keeps the time of its last copy, not the greatest one
  kCopyConfirms,       // a copy of an event confirms its time (WatermarkStep::kBounded)
  kLoseClocks,         // checkpoints forget what a camera's clock said (WatermarkStep::kBounded)
  kBatchWatermark,     // lateness depends on how Poll() cuts the stream into batches
  kWholeRun,           // a sink is given a whole spilled run, even a part it already has
  kSpillBeforePut,     // segments leave memory before their run is durable
  kRunsRemovedEarly,   // a run is removed while the newest checkpoint still names it
  kRunRemovedInPut,    // a run is removed while it is being put
  kGapInOlderPut,      // a gap is taken for saved by a checkpoint that was begun before it
  kGapTwice,           // when a gap is cut, each part reports the whole gap as lost
  kGapStraddles,       // a gap is not cut at the sinks' committed offsets
  kEntryBeforeBody,    // an entry names a body that is not there
  kAnyOwner,           // an entry that is found after a lost answer is taken for one's own
  kZombieRemovesRuns,  // a task that has lost its partition still removes unknown runs
  kForgetByRecord,     // a record's own append time, which may go back, decides what is forgotten
  kAnySettings,        // a start does not compare its settings with the stored ones
  kAdoptAnySettings,   // a folder without stored settings takes any, whatever its checkpoints say
  kOffMissesTheList,   // a sink that was off is given nothing of what the list still has for it
  kOffIsForgotten,     // a checkpoint does not name a sink that has not committed what it missed
  kAnyFolder,          // stores take the empty folder at their path for their own
  kForgetCameraEarly,  // a camera is forgotten after half of camera_ttl
};

#ifdef SIGHTLINE_MUTANTS
inline Mutant planted_mutant = Mutant::kNone;  // set before a run; the simulator has one thread
inline bool Mutated(Mutant mutant) { return planted_mutant == mutant; }
// What is done only from a certain size on is done from the smallest on in the simulator.
constexpr bool kSimulated = true;
#else
constexpr bool Mutated(Mutant) { return false; }
constexpr bool kSimulated = false;
#endif

}  // namespace sightline
