// redrive: sends events again that were `future` or `too_late`, after a repair.
//
// It reads the topics dead_letters and late_detections while the server that owns the data folder
// is running, and posts the events with their original bytes, those of each partition in order. An
// event that is sent twice (a crash between an answer and the cursor) is a copy, which
// deduplication drops. Malformed events are never sent. A run sends only what is there when it
// starts: an event that gets the same outcome again waits for the next run.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>

#include "base/status.h"
#include "camera/http_client.h"
#include "model/segment.h"
#include "model/types.h"

namespace sightline {

struct RedriveOptions {
  std::string data = "data";
  std::string url;  // the server's URL, without a path; a dry run does not use it
  bool future = true, too_late = true;
  // The range [from, to) of the append time at which an event first arrived.
  AppendTime from{INT64_MIN}, to{INT64_MAX};
  bool dry_run = false;
  bool again = false;  // include what an earlier run has sent
  int64_t batch_events_max = 1'000;
  int64_t batch_bytes_max = 1 << 20;
};

struct RedriveGroup {
  int64_t events = 0;
  AppendTime first, last;  // the range of the times at which the events first arrived
};
struct RedriveResult {
  // What was sent, or would be sent, by outcome, location and camera.
  std::map<std::tuple<Outcome, LocationId, CameraId>, RedriveGroup> groups;
  int64_t chosen = 0;    // events to send
  int64_t sent = 0;      // in requests that were answered
  int64_t accepted = 0;  // how many of them the server took; the ledger has their outcomes
  int64_t rejected = 0;  // how many of them the server could not decode
  int64_t cut = 0;       // skipped, because only their first bytes were kept
  int64_t before = 0;    // skipped, because an earlier run has sent them
};

struct RedrivePorts {
  HttpClient* client = nullptr;             // a dry run does not use it
  const std::atomic<bool>* stop = nullptr;  // true: return kRetry soon
  std::function<void(const RedriveResult&)> progress;
  std::function<void(const std::string&)> note;  // one line for people
};

// Fills `result` as far as it gets, also if it fails.
Status RunRedrive(const RedriveOptions& options, const RedrivePorts& ports, RedriveResult* result);

}  // namespace sightline
