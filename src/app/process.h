// What the commands that run until SIGTERM share. The signals must be blocked in every thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "app/options.h"
#include "base/status.h"
#include "model/types.h"

namespace sightline {

// SIGTERM or SIGINT has come and waits to be taken.
bool StopAsked();
// Until SIGTERM or SIGINT, or until `tick`, which is called every `interval`, says something else
// than kOk, which is returned.
Status WaitForStop(Millis interval, const std::function<Status()>& tick);
// Of the page, as this machine reaches it.
std::string UrlOf(const ListenAddress& listen, uint16_t port);

// The life of one: Process(options), Start(), `ready` with url(), WaitForSignal(), and Stop() in
// any case. What it ended with.
template <typename Process>
Status RunProcess(const UpOptions& options,
                  const std::function<void(const std::string& url)>& ready) {
  Process process(options);
  Status status = process.Start();
  if (status.ok()) {
    ready(process.url());
    status = process.WaitForSignal();
  }
  process.Stop();
  return status;
}

}  // namespace sightline
