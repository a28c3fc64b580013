// LookAtClocks(): which times of a sample cannot be believed, and which cameras have them. Pure.
#pragma once

#include <vector>

#include "doctor/diagnosis.h"
#include "doctor/sample.h"

namespace sightline {

struct ClockFindings {
  std::vector<bool> is_wrong;  // of each row: its time says nothing about the order of events
  std::vector<Finding> findings;
};

ClockFindings LookAtClocks(const Sample& sample, const SourceFacts& facts);

}  // namespace sightline
