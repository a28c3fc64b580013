// Hub: computes each view once for all its viewers and brings every viewer to the latest state.
//
// A view is (scope, location, window, limit). While a view has viewers, the hub computes it when
// Live changes, when the clock enters another pane, and once a second for the heartbeat. Changes
// are coalesced: a view is computed at most once per min_interval, and all views together take at
// most a quarter of one core. The hub keeps the last changes of each view. A viewer pulls the
// changes it lacks, or one snapshot when it is too far behind, so nothing is buffered per viewer.
// docs/PROTOCOL.md describes the messages. Thread-safe.
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
  int32_t views_max = 4'096;            // distinct views at a time; the hub refuses more
  int64_t kept_bytes_max = 64 << 20;    // kept changes of all views together; shared evenly
  Millis kept_without_viewers{30'000};  // how long a view without viewers can be resumed
  std::string boot;                     // part of the event ids; empty: random
  // Sent in heartbeats, so that viewers know when to fetch the alerts. Null: there are no alerts.
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
    // The hub does not call `wake` any more once this has returned.
    virtual ~Viewer() = default;
    // The messages to send next, oldest first. Empty: the viewer is up to date, or its snapshot is
    // still being made (`wake` follows). Never more than changes_kept messages (at least 3).
    virtual std::vector<SseMessage> Take() = 0;
  };
  // The hub calls `wake` when Take() has something: on its own thread, perhaps before Subscribe()
  // returns, and at most once until the next Take(). `wake` must only wake somebody: it must not
  // wait, and it must not call the hub or its viewers. `last_event_id` resumes a stream; it is ""
  // for a new viewer, and the hub ignores what is not an id of this view. kStop with a reason when
  // views_max is reached.
  Result<std::unique_ptr<Viewer>> Subscribe(const View& view, std::string_view last_event_id,
                                            std::function<void()> wake);

  int64_t viewers() const;
  int64_t views() const;         // those with viewers and those kept for resuming
  int64_t computations() const;  // each is of one view
  int64_t kept_bytes() const;    // of all kept changes
  const std::string& boot() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sightline
