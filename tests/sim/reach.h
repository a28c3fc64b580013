// What has happened in the simulated world. A check that was never exercised proves nothing, so the
// run asserts that each of these things happened.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace sightline::sim {

#define SIGHTLINE_REACH(X)            \
  /* events */                        \
  X(counted)                          \
  X(duplicate)                        \
  X(too_late)                         \
  X(future)                           \
  X(malformed)                        \
  X(outside)                          \
  X(conflict)                         \
  X(heartbeat)                        \
  X(future_heartbeat)                 \
  X(too_late_by_max_age)              \
  X(restamped_copy)                   \
  X(conflict_of_cameras)              \
  X(counted_again_after_ttl)          \
  X(window_before_1970)               \
  X(correction)                       \
  X(spooled)                          \
  X(no_append_time)                   \
  X(append_time_back)                 \
  X(watermark_held_back)              \
  X(clock_believed)                   \
  X(clock_set_right)                  \
  X(identity_with_camera)             \
  /* messages */                      \
  X(message_of_lines)                 \
  X(message_of_arrays)                \
  X(message_cut_off)                  \
  X(message_empty)                    \
  X(hole)                             \
  /* faults */                        \
  X(short_poll)                       \
  X(failed_read)                      \
  X(refused_write)                    \
  X(lost_answer)                      \
  X(late_write_landed)                \
  X(late_write_refused)               \
  X(crash)                            \
  X(new_owner)                        \
  X(zombie_left)                      \
  X(zombie_step)                      \
  X(fenced)                           \
  X(compare_and_set)                  \
  X(epoch_taken)                      \
  X(newer_claim_seen)                 \
  X(checkpoints_wiped)                \
  X(changed_settings)                 \
  X(changed_settings_of_old_folder)   \
  X(sink_emptied)                     \
  X(sink_off)                         \
  X(sink_off_missed_some)             \
  X(sink_off_takes_the_list)          \
  X(sink_off_inside_a_segment)        \
  X(retention)                        \
  X(retention_passes_everybody)       \
  X(sink_down)                        \
  X(sink_vanished)                    \
  X(store_vanished)                   \
  X(store_away)                       \
  X(torn_put)                         \
  X(store_call_abandoned)             \
  X(step_while_an_answer_is_lost)     \
  X(epoch_taken_before_a_lost_answer) \
  X(store_call_of_a_dead_task)        \
  X(body_removed)                     \
  /* the task's ways */               \
  X(reading_held_up)                  \
  X(live_ahead)                       \
  X(topic_ahead)                      \
  X(lake_ahead)                       \
  X(remote_ahead)                     \
  X(live_behind)                      \
  X(topic_behind)                     \
  X(lake_behind)                      \
  X(remote_behind)                    \
  X(nothing_committed_at_checkpoint)  \
  X(cut_at_committed)                 \
  X(checkpoint_in_replay)             \
  X(merged)                           \
  X(merged_while_under_way)           \
  X(under_way_answered)               \
  X(under_way_refused)                \
  X(spilled)                          \
  X(spilled_to_the_bound)             \
  X(spill_refused)                    \
  X(read_while_a_put_is_under_way)    \
  X(run_read)                         \
  X(run_cut_where_a_sink_stands)      \
  X(offer_in_runs_and_memory)         \
  X(runs_at_checkpoint)               \
  X(started_with_runs)                \
  X(run_removed)                      \
  X(run_of_an_older_owner_removed)    \
  X(run_of_a_zombie)                  \
  X(zombie_may_not_remove_runs)       \
  X(zombie_misses_a_run)              \
  X(gap_at_start)                     \
  X(gap_while_running)                \
  X(gap_without_checkpoint)           \
  X(gap_cut_where_a_sink_stands)      \
  X(gap_behind_which_a_sink_stands)   \
  X(gap_recorded_again)               \
  X(gap_of_a_zombie)                  \
  X(gap_behind_a_gap)                 \
  X(missed_committed)                 \
  X(drained)                          \
  X(stop_sink_lost_data)              \
  X(stop_sink_lost_everything)        \
  X(stop_inside_a_segment)            \
  X(stop_beyond_the_end)              \
  X(stop_retention_passed_checkpoint) \
  X(stop_retention_passed_committed)  \
  X(stop_damaged_checkpoint)          \
  X(stop_damaged_run)                 \
  X(stop_other_settings)

#define SIGHTLINE_AS_ENUM(name) name,
#define SIGHTLINE_AS_TEXT(name) #name,
enum class Reach { SIGHTLINE_REACH(SIGHTLINE_AS_ENUM) kSize };
inline constexpr std::array kReachNames = {SIGHTLINE_REACH(SIGHTLINE_AS_TEXT)};

// Durable writes, in the order of a task's life.
enum class Write {
  kNothing,
  kClaim,
  kFenceTopic,
  kFenceLake,
  kFenceRemote,
  kTopic,
  kLake,
  kRemote,
  kPut,
  kRun,
  kRemoveRuns,
  // Parts of a put, which count as no step of their own: what comes behind them is counted from the
  // step before.
  kBody,
  kRemoveOlder,
  kSize
};
inline constexpr std::array kWriteNames = {
    "start",        "claim",       "fence topic",   "fence lake", "fence remote",
    "topic commit", "lake commit", "remote commit", "checkpoint", "spilled run",
    "remove runs",  "body",        "remove older"};

struct Reached {
  std::array<int64_t, static_cast<size_t>(Reach::kSize)> times{};
  // Crashes after the first write and before the second one.
  std::array<std::array<int64_t, static_cast<size_t>(Write::kSize)>,
             static_cast<size_t>(Write::kSize)>
      crashes{};
  void Add(const Reached& other) {
    for (size_t i = 0; i < times.size(); ++i) times[i] += other.times[i];
    for (size_t i = 0; i < crashes.size(); ++i)
      for (size_t j = 0; j < crashes.size(); ++j) crashes[i][j] += other.crashes[i][j];
  }
};
inline thread_local Reached reached;  // over this thread's seeds
inline void Note(Reach what, int64_t times = 1) {
  reached.times[static_cast<size_t>(what)] += times;
}

// splitmix64 (Steele, Lea, Flood 2014), the same on every machine.
struct Prng {
  uint64_t state = 0;
  uint64_t Next() {
    uint64_t x = state += 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
  }
  int64_t Below(int64_t n) { return static_cast<int64_t>(Next() % static_cast<uint64_t>(n)); }
  bool OneIn(int64_t n) { return Below(n) == 0; }
};

// A failing seed throws one of these.
struct Violation : std::logic_error {
  using std::logic_error::logic_error;
};

}  // namespace sightline::sim
