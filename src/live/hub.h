// Hub: one computation for all viewers of a view, each viewer always at the latest state.
//
// A view is (scope, location, window, limit). While a view has viewers, the hub computes it when
// Live changes (coalesced: never more often than min_interval, nor for more than a quarter of one
// core for all views together), when the clock steps into another pane, and once a second for the
// heartbeat, and keeps its last changes. A viewer pulls: it gets the changes it lacks, or one
// snapshot when it is too far behind, so nothing is buffered per viewer. docs/PROTOCOL.md describes
// the messages. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "live/live.h"
#include "live/view_history.h"
#include "model/scope.h"

namespace sightline {

struct View {
  Scope scope;
  std::optional<LocationId> location;  // none: all locations together
  WindowChoice window;
  int32_t limit = 10;
  friend auto operator<=>(const View&, const View&) = default;
};

struct HubOptions {
  Millis min_interval{2};  // between two changes of one view
  Millis heartbeat{1'000};
  int32_t changes_kept = 256;           // per view, for resuming by Last-Event-ID
  int32_t views_max = 4'096;            // distinct views at a time; more are refused
  int64_t kept_bytes_max = 64 << 20;    // of kept changes, of all views together; shared evenly
  Millis kept_without_viewers{30'000};  // a view stays so long for resuming
  std::string boot;                     // part of the ids; empty: random
  // Told in heartbeats, so that viewers know when to ask for the alerts; null: there are none.
  // Called on the hub's thread.
  std::function<int64_t()> alerts_version;
};

class Hub {
 public:
  // `live` and `clock` outlive the hub.
  Hub(const Live* live, const Clock* clock, HubOptions options);
  ~Hub();  // stops the thread; viewers must be gone

  class Viewer {
   public:
    // From here on `wake` is not called any more.
    virtual ~Viewer() = default;
    // What the viewer should be sent next, oldest first; empty: it is up to date, or its snapshot
    // is under way (`wake` follows). Never more than changes_kept messages (at least 3).
    virtual std::vector<SseMessage> Take() = 0;
  };
  // `wake` is called (on the hub's thread, perhaps before Subscribe returns) when Take() has
  // something; at most once until the next Take(). It must only wake somebody: not wait, and not
  // call the hub or its viewers. `last_event_id` resumes ("" for a new viewer; what is no id of
  // this view is ignored). kStop with a reason when views_max is reached.
  Result<std::unique_ptr<Viewer>> Subscribe(const View& view, std::string_view last_event_id,
                                            std::function<void()> wake);

  int64_t viewers() const;
  int64_t views() const;         // with viewers, or kept for resuming
  int64_t computations() const;  // of one view each
  int64_t kept_bytes() const;    // of kept changes
  const std::string& boot() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
