#include "live/hub.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <span>
#include <thread>
#include <utility>

#include "base/check.h"
#include "live/location_board.h"
#include "live/messages.h"
#include "live/pace.h"

namespace sightline {
namespace {

using Steady = Pace::Steady;

// Live is locked for so many views at once.
constexpr size_t kViewsPerReading = 64;
constexpr int64_t kKeptBytesPerViewMin = 64 << 10;

std::string RandomBoot() {
  constexpr std::string_view kLetters = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::random_device random;
  std::string boot;
  for (int i = 0; i < 8; ++i) boot += kLetters[random() % kLetters.size()];
  return boot;
}

// The thread's own, so that waiting for a mutex or for the machine does not count as work.
std::chrono::nanoseconds ThreadTime() {
  timespec time{};
  CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

SseMessage Message(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

}  // namespace

struct Hub::State {
  State(const Live* live, const Clock* clock, HubOptions options);

  class ViewerOfView;
  // What the views of one scope and window share.
  struct Board {
    // The hub's thread's.
    LocationBoard locations;
    std::unique_ptr<Live::Followed> followed;
    uint64_t stamp = 0;  // of the last Reading
    // Guarded by `mutex`.
    int64_t views = 0;
  };
  struct ViewState {
    ViewState(const View& view, Board* board, int64_t seq, size_t kept_max)
        : view(view),
          json(ViewJson(view.location, view.window, view.limit)),
          board(board),
          history(seq, kept_max) {}
    const View view;
    const std::string json;
    Board* const board;

    // The hub's thread's: the state as of history.seq().
    bool is_computed = false;
    uint64_t sent_version = 0;  // of board->locations
    int64_t now_ms = 0;
    int64_t changed_at_ms = 0;
    Top top;
    Ledger ledger;

    // Guarded by `mutex`; only the hub's thread appends to the history.
    ViewHistory history;
    std::set<ViewerOfView*> viewers;
    bool wanted = false;         // some viewer waits for a snapshot, or for its first wake
    bool is_stale = false;       // was without viewers since it was computed
    bool is_busy = false;        // the hub's thread works on it: not to be dropped
    Steady::time_point left_at;  // when the last viewer left
  };
  // A view in a round, and what is asked of it.
  struct Job {
    ViewState* view;
    bool compute;
    bool snapshot;
  };

  // Viewers' threads.
  Result<std::unique_ptr<Viewer>> Subscribe(const View& view, std::string_view last_event_id,
                                            std::function<void()> wake);
  ViewState* FindOrMake(const View& view);
  std::vector<SseMessage> Take(ViewerOfView& viewer);
  void Leave(ViewerOfView& viewer);
  void Drop(std::map<View, std::unique_ptr<ViewState>>::iterator it);

  // The hub's thread.
  void Run();
  std::vector<Job> Collect(const Pace::Due& due);
  void Round(const Pace::Due& due);
  void Compute(std::span<Job> jobs, bool heartbeat);
  void Publish(const Job& job, const Reading* reading, Top top, bool heartbeat);
  SseMessage Advance(ViewState& view, const Reading& reading, Top top);
  StreamState StreamStateOf(const ViewState& view, int64_t seq, std::string_view top,
                            std::string_view ledger) const;
  SseMessage SnapshotOf(ViewState& view, int64_t seq) const;
  SseMessage HeartbeatOf(const ViewState& view, int64_t seq, Watermark complete_until) const;
  bool HasChanged(const ViewState& view, const Top& top, const Ledger& ledger) const;
  void DropExpired();

  const Live* const live;
  const Clock* const clock;
  const HubOptions options;
  const std::string boot;
  // Shared: Live keeps its callback, which ends here, for its whole life.
  const std::shared_ptr<Pace> pace;
  std::atomic<int64_t> computations{0};

  mutable std::mutex mutex;  // never held while Live or JSON works, but taken before Live's
  std::map<View, std::unique_ptr<ViewState>> views;
  std::map<std::pair<Scope, WindowChoice>, std::unique_ptr<Board>> boards;
  int64_t viewers = 0;
  int64_t views_ever = 0;
  std::thread thread;
};

class Hub::State::ViewerOfView final : public Hub::Viewer {
 public:
  ViewerOfView(State* state, ViewState* view, std::function<void()> wake)
      : state_(state), view_(view), wake_(std::move(wake)) {}
  ~ViewerOfView() override { state_->Leave(*this); }
  std::vector<SseMessage> Take() override { return state_->Take(*this); }

 private:
  friend struct Hub::State;
  State* const state_;
  ViewState* const view_;
  const std::function<void()> wake_;
  // Guarded by the hub's mutex.
  ViewHistory::Cursor cursor_;
  bool is_armed_ = true;  // may be woken
};

Hub::State::State(const Live* live, const Clock* clock, HubOptions options)
    : live(live),
      clock(clock),
      options(options),
      boot(options.boot.empty() ? RandomBoot() : options.boot),
      pace(std::make_shared<Pace>(clock, live->options().pane_size, options.min_interval,
                                  options.heartbeat)) {}

// -- viewers
// ---------------------------------------------------------------------------------------

Hub::State::ViewState* Hub::State::FindOrMake(const View& view) {
  if (const auto it = views.find(view); it != views.end()) return it->second.get();
  if (views.size() >= static_cast<size_t>(options.views_max)) {
    // A view that nobody looks at makes room.
    auto oldest = views.end();
    for (auto it = views.begin(); it != views.end(); ++it) {
      if (!it->second->viewers.empty() || it->second->is_busy) continue;
      if (oldest == views.end() || it->second->left_at < oldest->second->left_at) oldest = it;
    }
    if (oldest == views.end()) return nullptr;
    Drop(oldest);
  }
  auto& board = boards[{view.scope, view.window}];
  if (board == nullptr) board = std::make_unique<Board>();
  ++board->views;
  // No two views share a seq, so that no id of another view can resume here. JavaScript's numbers
  // are exact up to 2^53.
  const int64_t seq = (views_ever++ % (1 << 20) << 32) + 1;
  const auto kept_max = static_cast<size_t>(std::max(options.changes_kept - 2, 1));
  return views.emplace(view, std::make_unique<ViewState>(view, board.get(), seq, kept_max))
      .first->second.get();
}

void Hub::State::Drop(std::map<View, std::unique_ptr<ViewState>>::iterator it) {
  const View& view = it->first;
  if (--it->second->board->views == 0) boards.erase({view.scope, view.window});
  views.erase(it);
}

Result<std::unique_ptr<Hub::Viewer>> Hub::State::Subscribe(const View& view,
                                                           std::string_view last_event_id,
                                                           std::function<void()> wake) {
  const std::lock_guard lock(mutex);
  ViewState* const state = FindOrMake(view);
  if (state == nullptr) {
    return Status::Stop(
        fmt::format("too many different views are open ({}): close some pages, or raise views_max",
                    options.views_max));
  }
  auto viewer = std::make_unique<ViewerOfView>(this, state, std::move(wake));
  viewer->cursor_ = state->history.Resume(SeqOfId(last_event_id, boot));
  state->history.Serve(viewer->cursor_);
  state->viewers.insert(viewer.get());
  state->wanted = true;
  ++viewers;
  pace->SetWatched(static_cast<int64_t>(views.size()), viewers);
  pace->Wanted();
  return std::unique_ptr<Viewer>(std::move(viewer));
}

std::vector<SseMessage> Hub::State::Take(ViewerOfView& viewer) {
  const std::lock_guard lock(mutex);
  viewer.is_armed_ = true;
  std::vector<SseMessage> messages = viewer.view_->history.Take(viewer.cursor_);
  if (viewer.view_->history.NeedsSnapshot(viewer.cursor_)) {
    viewer.view_->wanted = true;
    pace->Wanted();
  }
  return messages;
}

void Hub::State::Leave(ViewerOfView& viewer) {
  const std::lock_guard lock(mutex);
  ViewState& view = *viewer.view_;
  view.viewers.erase(&viewer);
  if (view.viewers.empty()) {
    view.left_at = Steady::now();
    view.is_stale = true;
    view.history.SetSnapshot(nullptr);
  }
  --viewers;
  pace->SetWatched(static_cast<int64_t>(views.size()), viewers);
}

// -- the hub's thread
// ------------------------------------------------------------------------------

void Hub::State::Run() {
  for (;;) {
    const Pace::Due due = pace->Wait();
    if (due.stop) return;
    const auto started = ThreadTime();
    Round(due);
    if (due.heartbeat) DropExpired();
    pace->Worked(ThreadTime() - started);
  }
}

std::vector<Hub::State::Job> Hub::State::Collect(const Pace::Due& due) {
  std::vector<Job> jobs;
  const std::lock_guard lock(mutex);
  for (const auto& [key, view] : views) {
    if (view->viewers.empty() || !(due.everything() || view->wanted)) continue;
    Job job{.view = view.get(),
            .compute = due.everything() || !view->is_computed || view->is_stale};
    for (const ViewerOfView* viewer : view->viewers)
      job.snapshot = job.snapshot || view->history.NeedsSnapshot(viewer->cursor_);
    view->wanted = false;
    view->is_stale = false;
    view->is_busy = true;
    jobs.push_back(job);
  }
  return jobs;
}

void Hub::State::Round(const Pace::Due& due) {
  std::vector<Job> jobs = Collect(due);
  for (const Job& job : jobs) {
    if (!job.compute) Publish(job, nullptr, {}, false);
  }
  std::erase_if(jobs, [](const Job& job) { return !job.compute; });
  std::stable_sort(jobs.begin(), jobs.end(),
                   [](const Job& a, const Job& b) { return a.view->board < b.view->board; });
  for (size_t first = 0; first < jobs.size();) {
    size_t next = first + 1;
    while (next < jobs.size() && next - first < kViewsPerReading &&
           jobs[next].view->board == jobs[first].view->board)
      ++next;
    Compute(std::span(jobs).subspan(first, next - first), due.heartbeat);
    first = next;
  }
}

void Hub::State::Compute(std::span<Job> jobs, bool heartbeat) {
  const View& first = jobs.front().view->view;
  Board& board = *jobs.front().view->board;
  if (board.followed == nullptr) board.followed = live->Follow(first.window);
  std::vector<TopQuery> queries;
  for (const Job& job : jobs)
    queries.push_back({.location = job.view->view.location, .limit = job.view->view.limit});
  Reading reading = live->Read(first.scope, first.window, queries, board.stamp);
  board.stamp = reading.stamp;
  board.locations.Update(std::move(reading.locations), reading.everything);
  for (size_t i = 0; i < jobs.size(); ++i)
    Publish(jobs[i], &reading, std::move(reading.tops[i]), heartbeat);
  computations.fetch_add(static_cast<int64_t>(jobs.size()));
}

void Hub::State::Publish(const Job& job, const Reading* reading, Top top, bool heartbeat) {
  ViewState& view = *job.view;
  const SseMessage change = reading == nullptr ? nullptr : Advance(view, *reading, std::move(top));
  const int64_t seq = view.history.seq() + (change == nullptr ? 0 : 1);
  const SseMessage snapshot = job.snapshot ? SnapshotOf(view, seq) : nullptr;
  const SseMessage beat = heartbeat ? HeartbeatOf(view, seq, reading->complete_until) : nullptr;

  const std::lock_guard lock(mutex);
  if (change != nullptr) {
    const int64_t share = options.kept_bytes_max / static_cast<int64_t>(views.size());
    view.history.Append(change, std::max(share, kKeptBytesPerViewMin));
  }
  if (snapshot != nullptr) view.history.SetSnapshot(snapshot);
  if (beat != nullptr) view.history.SetHeartbeat(beat);
  for (ViewerOfView* viewer : view.viewers) {
    view.history.Serve(viewer->cursor_);
    if (!viewer->is_armed_ || !view.history.HasFor(viewer->cursor_)) continue;
    viewer->is_armed_ = false;
    viewer->wake_();
  }
  view.is_busy = false;
}

bool Hub::State::HasChanged(const ViewState& view, const Top& top, const Ledger& ledger) const {
  // complete_until moves with the clock; what it changes is which panes of the window are complete.
  const auto complete = [this](const Top& of) {
    return std::clamp(WindowStart(of.complete_until, live->options().pane_size), of.window.start,
                      of.window.end);
  };
  const Top& was = view.top;
  return view.sent_version != view.board->locations.version() || was.window != top.window ||
         was.total != top.total || was.items != top.items || was.rows != top.rows ||
         complete(was) != complete(top) || view.ledger != ledger;
}

// Makes the reading the view's state. The message that tells its viewers; null if there is no news,
// or nobody was told anything yet.
SseMessage Hub::State::Advance(ViewState& view, const Reading& reading, Top top) {
  LocationBoard& locations = view.board->locations;
  const bool publish = view.is_computed && HasChanged(view, top, reading.ledger);
  const bool as_snapshot = view.sent_version < locations.snapshot_version();
  const std::string moves =
      publish ? ToJson(std::span<const Move>(MovesBetween(view.top.rows, top.rows))) : "";
  const uint64_t sent_version = std::exchange(view.sent_version, locations.version());
  view.is_computed = true;
  view.now_ms = reading.now_ms;
  view.changed_at_ms = reading.changed_at_ms;
  view.top = std::move(top);
  view.ledger = reading.ledger;
  if (!publish) return nullptr;
  const int64_t seq = view.history.seq() + 1;
  if (as_snapshot) return SnapshotOf(view, seq);
  const std::string top_json = ToJson(view.top), ledger_json = ToJson(view.ledger);
  StreamState state = StreamStateOf(view, seq, top_json, ledger_json);
  state.locations = locations.ChangedJson(sent_version);
  state.moves = moves;
  return Message(ChangeEvent(state));
}

StreamState Hub::State::StreamStateOf(const ViewState& view, int64_t seq, std::string_view top,
                                      std::string_view ledger) const {
  return {.boot = boot,
          .seq = seq,
          .now_ms = view.now_ms,
          .changed_at_ms = view.changed_at_ms,
          .pane_size = live->options().pane_size,
          .view = view.json,
          .locations = "[]",
          .top = top,
          .moves = "[]",
          .ledger = ledger};
}

SseMessage Hub::State::SnapshotOf(ViewState& view, int64_t seq) const {
  const std::string top = ToJson(view.top), ledger = ToJson(view.ledger);
  StreamState state = StreamStateOf(view, seq, top, ledger);
  // The board may be ahead of the view: then the view's next change tells the same values again.
  state.locations = view.board->locations.AllJson();
  return Message(SnapshotEvent(state));
}

SseMessage Hub::State::HeartbeatOf(const ViewState& view, int64_t seq,
                                   Watermark complete_until) const {
  const std::string top = ToJson(view.top), ledger = ToJson(view.ledger);
  StreamState state = StreamStateOf(view, seq, top, ledger);
  state.complete_until = complete_until;
  if (options.alerts_version) state.alerts_version = options.alerts_version();
  return Message(HeartbeatEvent(state));
}

void Hub::State::DropExpired() {
  const auto expired = Steady::now() - std::chrono::milliseconds(options.kept_without_viewers.v);
  const std::lock_guard lock(mutex);
  for (auto it = views.begin(); it != views.end();) {
    const auto view = it++;
    if (view->second->viewers.empty() && view->second->left_at <= expired) Drop(view);
  }
  pace->SetWatched(static_cast<int64_t>(views.size()), viewers);
}

// -- the door
// --------------------------------------------------------------------------------------

Hub::Hub(const Live* live, const Clock* clock, HubOptions options)
    : state_(std::make_unique<State>(live, clock, std::move(options))) {
  live->OnChange([pace = state_->pace] { pace->Changed(); });
  state_->thread = std::thread([state = state_.get()] { state->Run(); });
}

Hub::~Hub() {
  CHECK(viewers() == 0);
  state_->pace->Stop();
  state_->thread.join();
}

Result<std::unique_ptr<Hub::Viewer>> Hub::Subscribe(const View& view,
                                                    std::string_view last_event_id,
                                                    std::function<void()> wake) {
  return state_->Subscribe(view, last_event_id, std::move(wake));
}

int64_t Hub::viewers() const {
  const std::lock_guard lock(state_->mutex);
  return state_->viewers;
}
int64_t Hub::views() const {
  const std::lock_guard lock(state_->mutex);
  return static_cast<int64_t>(state_->views.size());
}
int64_t Hub::computations() const { return state_->computations.load(); }
int64_t Hub::kept_bytes() const {
  const std::lock_guard lock(state_->mutex);
  int64_t bytes = 0;
  for (const auto& [key, view] : state_->views) bytes += view->history.bytes();
  return bytes;
}
const std::string& Hub::boot() const { return state_->boot; }

}  // namespace sightline
