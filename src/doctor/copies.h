// LookAtCopies(): what makes two detections of a sample the same, which copies there are, and for
// how long they must be remembered. Pure.
#pragma once

#include <vector>

#include "doctor/diagnosis.h"
#include "doctor/sample.h"
#include "pipeline/spec.h"

namespace sightline {

struct CopyFindings {
  Identity identity = Identity::kDetection;  // that fits
  Millis dedup_horizon;                      // that fits
  int64_t detections = 0, copies = 0;        // without those whose time is wrong
  std::vector<Finding> findings;
};

// `is_wrong` is that of ClockFindings.
CopyFindings LookAtCopies(const Sample& sample, const std::vector<bool>& is_wrong);

}  // namespace sightline
