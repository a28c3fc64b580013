// handover: what a new pipeline needs of an old one's records, copied from a data folder or a topic
// into a topic. See HandoverPlan for the rule.
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
  std::string from;  // topic; empty: the data folder of the options
  std::string to;    // topic
  RekeyBy by = RekeyBy::kCamera;
  bool until_end = false;  // of a topic
};

// One hand-over: first Look(), then, if its plan is good, Copy(). SIGTERM and SIGINT must be
// blocked in the calling thread; they end either.
class Handover {
 public:
  static Result<std::unique_ptr<Handover>> Open(const Settings& options,
                                                const HandoverOptions& handover);
  virtual ~Handover() = default;

  // Changes nothing but that a data folder is owned from now on.
  virtual Result<HandoverFacts> Look() = 0;
  // Until everything is copied, or told to stop: kRetry then. `progress`: a line now and then.
  virtual Result<KafkaCopyStats> Copy(const std::function<void(const std::string&)>& progress) = 0;
};

}  // namespace sightline
