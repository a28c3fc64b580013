// Hub: one computation for all viewers of a view, each viewer always at the latest state.
//
// A view is (scope, location, window, limit). While a view has viewers, the hub computes it when
// Live changes (coalesced: never more often than min_interval, nor for more than a quarter of one
// core) and once a second for the heartbeat, and keeps its last changes. A viewer pulls: it gets the
// changes it lacks, or one snapshot when it is too far behind, so nothing is buffered per viewer.
// docs/PROTOCOL.md describes the messages. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "live/live.h"
#include "live/scope.h"

namespace sightline {

struct View {
  Scope scope;
  std::optional<LocationId> location;  // none: all locations together
  WindowChoice window;
  int32_t limit = 10;
  friend auto operator<=>(const View&, const View&) = default;
};

struct HubOptions {
  Millis min_interval{2};   // between two changes of one view
  Millis heartbeat{1'000};
  int32_t changes_kept = 256;  // per view, for resuming by Last-Event-ID
  int32_t views_max = 4'096;   // distinct views at a time; more are refused
};

// A complete server-sent event ("id: <boot>-<seq>\nevent: snapshot|change|heartbeat\ndata: ...\n\n").
using SseMessage = std::shared_ptr<const std::string>;

class Hub {
 public:
  Hub(const Live* live, const Clock* clock, HubOptions options);
  ~Hub();  // stops the thread; viewers must be gone

  class Viewer {
   public:
    virtual ~Viewer() = default;
    // What the viewer should be sent next, oldest first; empty: it is up to date. Never more than
    // changes_kept messages.
    virtual std::vector<SseMessage> Take() = 0;
  };
  // `wake` is called (on the hub's thread) when Take() has something; at most once until the next
  // Take(). `last_event_id` resumes ("" for a new viewer). kStop with a reason when views_max is
  // reached.
  Result<std::unique_ptr<Viewer>> Subscribe(const View& view, std::string_view last_event_id,
                                            std::function<void()> wake);

  int64_t viewers() const;
  int64_t views() const;
  int64_t computations() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
