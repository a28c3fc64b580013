// SettingsStore: the port in which the settings of a pipeline survive, beside its checkpoints. All
// processes that count the pipeline's partitions share it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

// Used by one thread.
class SettingsStore {
 public:
  virtual ~SettingsStore() = default;
  // The text that was put; nothing if there is none.
  virtual Result<std::optional<std::string>> Settings() = 0;
  // Puts the text, durably, if there is none. kOk also if another process was faster: Settings()
  // then has that one's.
  virtual Status PutSettingsIfAbsent(std::string_view text) = 0;
  // The partitions that have an entry in the checkpoint store.
  virtual Result<std::vector<SourcePartition>> Partitions() = 0;
  // The newest checkpoint of a partition, which another process may own meanwhile; nothing is
  // changed. Nothing if it has none.
  virtual Result<std::optional<std::string>> NewestCheckpoint(const SourcePartition& partition) = 0;
};

}  // namespace sightline
