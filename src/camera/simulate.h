// Simulator: a city of cameras, with all that goes wrong in one.
//
// People, cars and dogs come by at every camera; each is seen in one or several frames, and every
// frame repeats its detection_oid, as trackers do. Locations and items are skewed (Zipf), each
// location has its favourites, and these change slowly so that ranks move. Cameras fall silent, go
// dark and send their backlog later, send batches twice, send late, have wrong clocks, and now and
// then write nonsense.
//
// Pure: the lines are a function of options, seed and the times given to Advance(), whatever the
// steps between them (time is cut into ticks of 100 ms, aligned to the epoch). No thread, no clock.
// Two simulators must not feed one server at a time: they would be the same cameras.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/types.h"

namespace sightline {

// The probabilities "a camera-minute" are looked at once a minute for each camera.
struct SimulatorOptions {
  int32_t locations = 12;            // oids 1001, 1002, ...
  int32_t cameras_per_location = 3;  // oids 100101, 100102, ...: location * 100 + number
  double rate = 50;                  // detections/s over all cameras, a day's average: frames of an
                                     // object count, retries and heartbeats do not
  int32_t items = 20;                // distinct item names
  double location_skew = 0.7;        // Zipf exponent; 0: all alike
  double item_skew = 1.0;            // Zipf exponent; 0: all alike
  double favourite_drift = 0.8;      // how far an item's weight swings: e^-x to e^x
  Millis favourite_period{600'000};  // mean period of that swing
  double day_rhythm = 0.6;  // 0: the same all day, 1: (almost) nobody at four in the morning
  double linger_probability = 0.4;  // an object stays for 2..8 frames instead of one
  Millis frame_time_min{100};       // between two frames of an object
  Millis frame_time_max{1'000};
  double disorder_probability = 0.05;  // a detection is sent late ...
  Millis disorder_max{5'000};          // ... by up to this
  double retry_probability = 0.01;     // a second's batch of a camera is sent again, 1 to 3 s later
  double dark_probability = 0.01;      // a camera-minute: no connection for 10 to 60 s; afterwards
                                       // it sends everything at once
  double silent_probability = 0.002;   // a camera-minute: switched off for 2 to 10 min
  double wrong_clock_probability = 0.006;  // a camera-minute: for 20 to 60 s an hour ahead, two
                                           // hours behind or seconds instead of ms, in turn
  double malformed_probability = 0.000'5;  // a detection is followed by a line of nonsense
  Millis heartbeat_interval{10'000};       // of each camera; 0: none

  // kStop, naming every option that is out of range.
  Status Validate() const;
};

// What was sent so far. Every kind of trouble is in it, so that a test sees that it was reached.
struct SimulatorStats {
  int64_t detections = 0;  // lines, repeats included, retries not
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
  int64_t skipped_ms = 0;  // of time that Advance() leapt over; negative: backwards
};

// Not thread-safe.
class Simulator {
 public:
  // The options must be valid.
  Simulator(const SimulatorOptions& options, uint64_t seed);
  ~Simulator();

  // The lines (without line break) that the cameras send up to `now`, in the order of sending. The
  // first call starts the city at `now` and returns nothing. A leap of more than a minute (the
  // machine slept, its clock was set) is followed without the time between; after a smaller step
  // back nothing is sent until the clock has caught up.
  std::vector<std::string> Advance(EventTime now);

  // The location table (docs/SEMANTICS.md, Dataset B): geographical_location_oid,
  // geographical_location,latitude,longitude,time_zone; with the town square of the recording
  // data/pedestrians.ndjson as 7001.
  std::string LocationsCsv() const;

  const SimulatorStats& stats() const;

 private:
  class City;
  const std::unique_ptr<City> city_;
};

}  // namespace sightline
