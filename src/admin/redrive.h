// redrive: sends events that were `future` or `too_late` again, after a repair.
//
// Reads the topics dead_letters and late_detections beside the server that owns the data folder and
// posts the events as they came, each partition's in the order in which they came. What is sent
// twice (a crash between an answer and the cursor) is a copy, which deduplication drops. Malformed
// events are never sent. Looks only at what is there when it starts: an event that is set aside
// once more waits for the next run.
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
  std::string url;  // of the server, without a path; not used by a dry run
  bool future = true, too_late = true;
  // Of the first append time: [from, to).
  AppendTime from{INT64_MIN}, to{INT64_MAX};
  bool dry_run = false;
  bool again = false;  // also what an earlier run has sent
  int64_t batch_events_max = 1'000;
  int64_t batch_bytes_max = 1 << 20;
};

struct RedriveGroup {
  int64_t events = 0;
  AppendTime first, last;  // of the first append
};
struct RedriveResult {
  // By outcome, location, camera: what was sent, or would be.
  std::map<std::tuple<Outcome, LocationId, CameraId>, RedriveGroup> groups;
  int64_t chosen = 0;    // events to send
  int64_t sent = 0;      // in requests that were answered
  int64_t accepted = 0;  // of them; the ledger says what they became
  int64_t rejected = 0;  // of them: not readable for the server
  int64_t cut = 0;       // skipped: too long to have been kept whole
  int64_t before = 0;    // skipped: sent by an earlier run
};

struct RedrivePorts {
  HttpClient* client = nullptr;             // not used by a dry run
  const std::atomic<bool>* stop = nullptr;  // true: end soon, with kRetry
  std::function<void(const RedriveResult&)> progress;
  std::function<void(const std::string&)> note;  // one line for people
};

// `result` is filled as far as it came, also when it fails.
Status RunRedrive(const RedriveOptions& options, const RedrivePorts& ports, RedriveResult* result);

}  // namespace sightline
