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

// First of all: every thread inherits the mask, and the signals are taken by WaitForStop().
void BlockSignals();
// SIGTERM or SIGINT has come and waits to be taken.
bool StopAsked();
// Until SIGTERM or SIGINT, or until `tick`, which is called every `interval`, says something else
// than kOk, which is returned.
Status WaitForStop(Millis interval, const std::function<Status()>& tick);
// Whether the main loop goes round. Beat() is the loop's, ReportHealth() any thread's.
class Pulse {
 public:
  Pulse();
  void Beat();
  // Not ok: it has not come round for so long that it will not by itself.
  Health ReportHealth() const;

 private:
  std::atomic<int64_t> beat_ms_;
};
// A server as the options say. kStop: it cannot listen there.
Result<std::unique_ptr<Server>> StartServer(const Settings& options, ServerPorts ports);
// Of its page, as this machine reaches it.
std::string UrlOf(const Settings& options, const Server& server);

// The life of one: Start(), `ready` with url(), WaitForSignal(), and Stop() in any case. What it
// ended with.
template <typename Process>
Status RunProcess(Process& process, const std::function<void(const std::string& url)>& ready) {
  Status status = process.Start();
  if (!status.ok() && StopAsked()) {
    // It was told to end before it was there: that is no failure.
    LogInfo(status.message());
    status = Status::Ok();
  } else if (status.ok()) {
    ready(process.url());
    status = process.WaitForSignal();
  }
  process.Stop();
  return status;
}
template <typename Process>
Status RunProcess(const Settings& options,
                  const std::function<void(const std::string& url)>& ready) {
  Process process(options);
  return RunProcess(process, ready);
}

}  // namespace sightline
