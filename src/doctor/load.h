// LookAtLoad(): the rate of a sample, and the memory and partitions that it needs by the formulas
// of docs/OPERATIONS.md, "Sizing". LookAtKeys(): whether copies reach the same partition. Pure.
#pragma once

#include <optional>
#include <vector>

#include "doctor/copies.h"
#include "doctor/diagnosis.h"
#include "doctor/sample.h"

namespace sightline {

std::vector<Finding> LookAtLoad(const Sample& sample, const SourceFacts& facts,
                                const std::vector<bool>& is_wrong, const CopyFindings& copies);

// None for files.
std::optional<Finding> LookAtKeys(const Sample& sample, const SourceFacts& facts);

}  // namespace sightline
