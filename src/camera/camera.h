// RunCamera: `sightline camera`, which sends a recording or a simulated city to a server.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "camera/curl_client.h"
#include "camera/http_client.h"
#include "camera/playback.h"
#include "camera/sender.h"
#include "camera/simulate.h"
#include "camera/spool.h"

namespace sightline {

// The declarations of the parts give their units and defaults.
struct CameraOptions {
  enum class Source : uint8_t { kSimulate, kPlayback } source = Source::kSimulate;
  PlaybackOptions playback;    // kPlayback
  SimulatorOptions simulator;  // kSimulate
  uint64_t seed = 1;           // kSimulate: the same city for the same seed
  std::string locations_file;  // kSimulate: where the location table is written; "": nowhere

  SenderOptions sender;  // RunCamera() sets `overflow`: a recording waits, a simulation spools
  SpoolOptions spool;    // a directory serves one RunCamera() at a time
  CurlClientOptions http;
  // Makes the client that posts; empty: libcurl with the options `http`.
  std::function<Result<std::unique_ptr<HttpClient>>()> make_client;

  // After the end of a recording: give up when the server has acknowledged nothing for this long.
  Millis drain_time{30'000};
  // At the end: how long to go on sending what is in memory. The rest goes to the spool, and the
  // next run sends it.
  Millis stop_time{2'000};
  Millis progress_interval{1'000};

  Status Validate() const;
};

// Runs until the recording is delivered or `stop` is set; then it returns within stop_time and the
// time that the disk takes. Calls `progress` on the caller's thread with a line for people.
//
// kOk: everything is delivered, or `stop` was set and the spool has the rest. kRetry: the recording
// is read, but events still wait in the spool: run again. kStop: the options, the recording or the
// spool cannot be used, or events are lost; the message says which.
Status RunCamera(const CameraOptions& options, const std::atomic<bool>& stop,
                 const std::function<void(std::string_view)>& progress);

}  // namespace sightline
