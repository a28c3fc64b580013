// RunCamera: `sightline camera` - a recording or a simulated city, sent to a server.
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

// Units and defaults of the parts are said where they are declared.
struct CameraOptions {
  enum class Source : uint8_t { kSimulate, kPlayback } source = Source::kSimulate;
  PlaybackOptions playback;    // kPlayback
  SimulatorOptions simulator;  // kSimulate
  uint64_t seed = 1;           // kSimulate: the same city for the same seed
  std::string locations_file;  // kSimulate: the location table is written here; "": it is not

  SenderOptions sender;  // its `overflow` is set here: a recording waits, a simulation spools
  SpoolOptions spool;    // one directory for each RunCamera() at a time
  CurlClientOptions http;
  // Makes what posts; empty: libcurl, as `http` says.
  std::function<Result<std::unique_ptr<HttpClient>>()> make_client;

  Millis drain_time{30'000};  // after the end of a recording: give up when the server has
                              // acknowledged nothing for so long
  Millis stop_time{2'000};    // at the end: so long for sending what is in memory; the rest goes to
                              // the spool and is sent by the next run
  Millis progress_interval{1'000};

  Status Validate() const;
};

// Runs until the recording is delivered or `stop` is set; returns then within stop_time and what
// the disk takes. `progress` is called on the caller's thread, with a line for people.
//
// kOk: all is delivered, or `stop` was set and what was left is in the spool. kRetry: the recording
// is read, but events still wait in the spool: run again. kStop: options, recording or spool cannot
// be used, or events are lost (the message says which).
Status RunCamera(const CameraOptions& options, const std::atomic<bool>& stop,
                 const std::function<void(std::string_view)>& progress);

}  // namespace sightline
