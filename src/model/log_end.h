// LogEnd: where the durable records of a partition end.
#pragma once

#include "model/types.h"

namespace sightline {

struct LogEnd {
  Offset next;
  // Of the last record, even if retention has removed it; kNoAppendTime: there never was one, or
  // nothing proves when it came.
  AppendTime newest = kNoAppendTime;
};

}  // namespace sightline
