// Diagnose(): says what is wrong with a sample, or worth knowing, and which settings follow. Pure.
#pragma once

#include "doctor/diagnosis.h"
#include "doctor/sample.h"

namespace sightline {

// `sample` must be finished.
Diagnosis Diagnose(const Sample& sample, const SourceFacts& facts);

}  // namespace sightline
