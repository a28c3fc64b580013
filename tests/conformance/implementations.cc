// The implementations that need nothing but this machine.
#include "harness.h"

namespace sightline::conformance {

std::vector<Implementation<SourceHarness>> Sources() {
  return {{"memory", MakeMemorySource},
          {"embedded_log", MakeEmbeddedSource},
          {"embedded_log_without_tail", MakeEmbeddedSourceWithoutTail}};
}

std::vector<Implementation<SinkHarness>> Sinks() {
  return {{"memory", MakeMemorySink},
          {"embedded_log", MakeEmbeddedSink},
          {"lake_increments", MakeLakeIncrementsSink},
          {"lake_ledger", MakeLakeLedgerSink}};
}

std::vector<Implementation<StoreHarness>> Stores() { return {{"memory", MakeMemoryStore}}; }

std::vector<Implementation<StorageHarness>> Storages() {
  return {{"local", MakeLocalStorage}, {"faulty", MakeFaultyStorage}};
}

}  // namespace sightline::conformance
