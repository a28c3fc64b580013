// handover: copies the records of an old pipeline that a new one needs, from a data folder or a
// topic into a topic. handover_plan.h has the rule.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "admin/handover_plan.h"
#include "base/status.h"
#include "config/options.h"
#include "connectors/kafka/copy.h"
#include "connectors/kafka/rekey_map.h"

namespace sightline {

struct HandoverOptions {
  EventTime at;
  std::string from;  // a topic; empty: the data folder of the options
  std::string to;    // a topic
  RekeyBy by = RekeyBy::kCamera;
  bool until_end = false;  // end where the topic ends now; false: copy it live
};

// One hand-over. Call Look() first, and Copy() only if the plan that is made of its facts is ok().
// SIGTERM and SIGINT must be blocked in the calling thread; they end either call.
class Handover {
 public:
  static Result<std::unique_ptr<Handover>> Open(const Settings& options,
                                                const HandoverOptions& handover);
  virtual ~Handover() = default;

  // Finds out the facts. Changes nothing, but owns the data folder from now on.
  virtual Result<HandoverFacts> Look() = 0;
  // Copies until everything is copied. kRetry: a signal has stopped it. `progress` gets a line now
  // and then.
  virtual Result<KafkaCopyStats> Copy(const std::function<void(const std::string&)>& progress) = 0;
};

}  // namespace sightline
