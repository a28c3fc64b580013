#include "camera/camera.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>
#include <utility>

namespace sightline {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kWatchTick{50};
constexpr int64_t kSimulatorStepMs = 100;

// The locations connector reads the table again when it changes, so an equal one is left alone, and
// a new one appears whole.
Status WriteLocations(const std::string& path, const std::string& csv) {
  std::ostringstream old;
  old << std::ifstream(path, std::ios::binary).rdbuf();
  if (old.str() == csv) return Status::Ok();
  const std::string fresh = path + ".new";
  std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
  file << csv;
  file.close();
  if (!file || std::rename(fresh.c_str(), path.c_str()) != 0)
    return Status::Stop(fmt::format("the location table '{}' cannot be written", path));
  return Status::Ok();
}

Status RunSimulator(const CameraOptions& options, const Clock& clock, Pacer& pacer,
                    const std::atomic<bool>& stop, Sender& sender) {
  Simulator simulator(options.simulator, options.seed);
  if (!options.locations_file.empty())
    RETURN_IF_ERROR(WriteLocations(options.locations_file, simulator.LocationsCsv()));
  while (!stop) {
    // Offer() counts what it must drop; a simulated camera goes on as a real one would.
    for (const std::string& line : simulator.Advance({clock.NowMs()})) (void)sender.Offer(line);
    pacer.WaitUntil(pacer.SteadyMs() + kSimulatorStepMs, stop);
  }
  return Status::Ok();
}

Status RunSource(const CameraOptions& options, const Clock& clock, const std::atomic<bool>& stop,
                 Sender& sender) {
  const auto pacer = CreateSteadyPacer();
  if (options.source == CameraOptions::Source::kSimulate)
    return RunSimulator(options, clock, *pacer, stop, sender);
  return PlayBack(options.playback, clock, *pacer, stop,
                  [&sender](std::string_view line) { return sender.Offer(line); });
}

// The progress line, and the rate since the last one.
class ProgressLine {
 public:
  ProgressLine(const Sender& sender, const CameraOptions& options,
               const std::function<void(std::string_view)>& print)
      : sender_(sender), interval_(options.progress_interval.v), print_(print) {}

  void TickIfDue() {
    if (SteadyClock::now() - last_ >= interval_) Print();
  }

  void Print() {
    const SenderCounters now = sender_.counters();
    const std::chrono::duration<double> passed = SteadyClock::now() - last_;
    const double rate =
        passed.count() > 0 ? static_cast<double>(now.offered - last_offered_) / passed.count() : 0;
    std::string line =
        fmt::format("{} events ({:.0f}/s), {} acknowledged, {} in memory, {} in the spool",
                    now.offered, rate, now.acknowledged, now.queued, now.spool_events);
    // Trouble is only spoken of when there is some.
    if (now.rejected > 0) line += fmt::format(", {} rejected", now.rejected);
    if (now.refused > 0) line += fmt::format(", {} refused", now.refused);
    if (now.dropped > 0) line += fmt::format(", {} DROPPED", now.dropped);
    if (now.retries > 0) line += fmt::format(", {} retries", now.retries);
    if (now.away) line += ", the server is away";
    if (print_) print_(line);
    last_ = SteadyClock::now();
    last_offered_ = now.offered;
  }

 private:
  const Sender& sender_;
  const std::chrono::milliseconds interval_;
  const std::function<void(std::string_view)>& print_;
  SteadyClock::time_point last_ = SteadyClock::now();
  int64_t last_offered_ = 0;
};

// Waits until everything is acknowledged, or nothing has been for drain_time.
void Drain(const CameraOptions& options, const Sender& sender, const std::atomic<bool>& stop,
           ProgressLine& progress) {
  auto last_change = SteadyClock::now();
  int64_t left_before = -1;
  while (!stop && !sender.idle()) {
    const SenderCounters counters = sender.counters();
    const int64_t left = counters.queued + counters.spool_events;
    if (std::exchange(left_before, left) != left) last_change = SteadyClock::now();
    if (SteadyClock::now() - last_change > std::chrono::milliseconds(options.drain_time.v)) return;
    progress.TickIfDue();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace

Status CameraOptions::Validate() const {
  RETURN_IF_ERROR(sender.Validate());
  if (spool.directory.empty()) return Status::Stop("the spool has no directory: name one");
  if (progress_interval.v < 1 || stop_time.v < 0 || drain_time.v < 0)
    return Status::Stop("progress_interval, stop_time and drain_time must not be negative");
  return source == Source::kPlayback ? playback.Validate() : simulator.Validate();
}

Status RunCamera(const CameraOptions& options, const std::atomic<bool>& stop,
                 const std::function<void(std::string_view)>& progress_line) {
  RETURN_IF_ERROR(options.Validate());
  auto spool = Spool::Open(options.spool);
  if (!spool.ok()) return spool.status();
  auto client = options.make_client ? options.make_client() : CreateCurlClient(options.http);
  if (!client.ok()) return client.status();
  const bool plays_back = options.source == CameraOptions::Source::kPlayback;
  SenderOptions sender_options = options.sender;
  sender_options.overflow = plays_back ? Overflow::kWait : Overflow::kSpool;
  const SystemClock clock;
  Sender sender(sender_options, spool.value().get(), client.value().get(), &clock);
  ProgressLine progress(sender, options, progress_line);

  // The source may wait in Offer(), so it has a thread of its own; Stop() ends that wait.
  Status source_status = Status::Ok();
  std::atomic<bool> source_stop{false}, source_ended{false};
  std::thread source([&] {
    source_status = RunSource(options, clock, source_stop, sender);
    source_ended = true;
  });
  while (!stop && !source_ended) {
    std::this_thread::sleep_for(kWatchTick);
    progress.TickIfDue();
  }
  if (source_ended && plays_back) Drain(options, sender, stop, progress);
  source_stop = true;
  const Status stopped = sender.Stop(options.stop_time);
  source.join();
  progress.Print();

  RETURN_IF_ERROR(source_status);
  RETURN_IF_ERROR(stopped);
  const SenderCounters counters = sender.counters();
  if (!stop && counters.spool_events > 0)
    return Status::Retry(
        fmt::format("{} events wait in the spool '{}' for '{}': run again when it is back",
                    counters.spool_events, options.spool.directory, options.sender.url));
  return Status::Ok();
}

}  // namespace sightline
