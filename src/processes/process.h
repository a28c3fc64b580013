// What the commands that run until SIGTERM share.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/status.h"
#include "config/options.h"
#include "model/types.h"
#include "server/server.h"

namespace sightline {

// Blocks SIGTERM and SIGINT. Call it before any thread is started: threads inherit the mask, and
// WaitForStop() takes the signals.
void BlockSignals();
// True if SIGTERM or SIGINT has arrived and waits to be taken.
bool StopAsked();
// Returns on SIGTERM or SIGINT, or with the status of `tick` as soon as that is not kOk. `tick` is
// called every `interval`.
Status WaitForStop(Millis interval, const std::function<Status()>& tick);
// Tells whether the main loop still runs. The loop calls Beat(); any thread may call
// ReportHealth().
class LivenessProbe {
 public:
  LivenessProbe();
  void Beat();
  // Not ok: the loop has been silent for longer than anything that it waits for.
  Health ReportHealth() const;

 private:
  std::atomic<int64_t> beat_ms_;
};
// Starts a server with the options of the settings. kStop: it cannot listen at the address.
Result<std::unique_ptr<Server>> StartServer(const Settings& options, ServerPorts ports);
// The URL of its page, as this machine reaches it.
std::string UrlOf(const Settings& options, const Server& server);

// Runs a process: Start(), `ready` with its url(), WaitForSignal(), and Stop() in any case. Returns
// why it ended.
template <typename Process>
Status RunProcess(Process& process, const std::function<void(const std::string& url)>& ready) {
  Status status = process.Start();
  const bool started = status.ok();
  if (started) {
    ready(process.url());
    status = process.WaitForSignal();
    LogInfo("stopping");
  } else if (StopAsked()) {
    // It was told to end before it had started, which is not a failure.
    LogInfo(status.message());
    status = Status::Ok();
  }
  process.Stop();
  // A process that has never run does not say that it has stopped.
  if (started) LogInfo("stopped");
  return status;
}
template <typename Process>
Status RunProcess(const Settings& options,
                  const std::function<void(const std::string& url)>& ready) {
  Process process(options);
  return RunProcess(process, ready);
}

}  // namespace sightline
