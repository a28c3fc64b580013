// Simulator: a city full of cameras, with everything that goes wrong in one.
//
// People, cars and dogs pass every camera. A camera sees each of them in one or several frames, and
// every frame repeats the detection_oid, as trackers do. Locations and items are skewed (Zipf);
// each location has favourite items, which change slowly, so that ranks move. Cameras fall silent,
// lose their connection and send the backlog later, send batches twice, send late, have wrong
// clocks, and now and then write nonsense.
//
// Pure, without thread and clock: the lines are a function of the options, the seed and the times
// given to Advance(), however these divide the time (it passes in ticks of 100 ms, aligned to the
// epoch). Two simulators must not feed one server at the same time, as they would be the same
// cameras.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

// A probability "per camera-minute" applies once a minute to each camera.
struct SimulatorOptions {
  int32_t locations = 12;            // oids 1001, 1002, ...
  int32_t cameras_per_location = 3;  // oids 100101, 100102, ...: location * 100 + number
  double rate = 50;                  // detections/s over all cameras, averaged over a day: each
                                     // frame of an object counts, retries and heartbeats do not
  int32_t items = 20;                // distinct item names
  double location_skew = 0.7;        // Zipf exponent; 0: all alike
  double item_skew = 1.0;            // Zipf exponent; 0: all alike
  double favourite_drift = 0.8;      // how far an item's weight swings: from e^-x to e^x
  Millis favourite_period{600'000};  // the mean period of that swing
  double day_rhythm = 0.6;  // 0: the same all day, 1: (almost) nobody at four in the morning
  double linger_probability = 0.4;  // an object stays for 2..8 frames instead of one
  Millis frame_time_min{100};       // between two frames of an object
  Millis frame_time_max{1'000};
  double disorder_probability = 0.05;  // a detection is sent late ...
  Millis disorder_max{5'000};          // ... by up to this
  double retry_probability = 0.01;     // a camera sends a second's batch again 1 to 3 s later
  double dark_probability = 0.01;      // per camera-minute: no connection for 10 to 60 s; then it
                                       // sends everything at once
  double silent_probability = 0.002;   // per camera-minute: switched off for 2 to 10 min
  double wrong_clock_probability = 0.006;  // per camera-minute: for 20 to 60 s an hour ahead, two
                                           // hours behind, or seconds instead of ms, in turn
  double malformed_probability = 0.000'5;  // a line of nonsense follows a detection
  Millis heartbeat_interval{10'000};       // of each camera; 0: none

  // kStop names every option that is out of range.
  Status Validate() const;
};

// What was sent so far. It counts every kind of trouble, so that a test can check that it occurred.
struct SimulatorStats {
  int64_t detections = 0;  // lines, including repeats but not retries
  int64_t objects = 0;     // distinct detection_oids
  int64_t retried = 0;     // lines sent again
  int64_t disordered = 0;
  int64_t dark_spells = 0;
  int64_t backlog = 0;  // lines sent after a dark spell
  int64_t silent_spells = 0;
  int64_t clock_ahead = 0;  // lines
  int64_t clock_behind = 0;
  int64_t clock_seconds = 0;
  int64_t malformed = 0;
  int64_t heartbeats = 0;
  int64_t skipped_ms = 0;  // time that Advance() skipped; negative: backwards
};

// Not thread-safe.
class Simulator {
 public:
  // The options must be valid.
  Simulator(const SimulatorOptions& options, uint64_t seed);
  ~Simulator();

  // The lines, without line breaks, that the cameras send up to `now`, in the order of sending. The
  // first call starts the city at `now` and returns nothing. After a jump of more than a minute
  // (the machine slept, or its clock was set) the city goes on at `now` without the time between.
  // After a smaller step back it sends nothing until the clock has caught up.
  std::vector<std::string> Advance(EventTime now);

  // The location table (docs/SEMANTICS.md, Dataset B) with the columns geographical_location_oid,
  // geographical_location, latitude, longitude and time_zone. It also has 7001, the town square of
  // the recording data/pedestrians.ndjson.
  std::string LocationsCsv() const;

  const SimulatorStats& stats() const;

 private:
  class City;
  const std::unique_ptr<City> city_;
};

}  // namespace sightline
