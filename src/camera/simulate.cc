#include "camera/simulate.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <map>
#include <numbers>
#include <utility>

#include "base/check.h"
#include "camera/detection_id.h"
#include "camera/random.h"

namespace sightline {
namespace {

constexpr int64_t kTickMs = 100;
constexpr int64_t kSecondMs = 1'000;
constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kClockJumpMs = 60'000;
constexpr int64_t kFirstLocation = 1001;
constexpr int64_t kTownSquare = 7001;
constexpr int32_t kExtraFramesMax = 7;  // of a lingering object: 1..7 after the first
constexpr double kExtraFramesMean = (1 + kExtraFramesMax) / 2.0;

// The city lies at the mouth of the Maas. Daylight saving time is ignored: it would only move the
// rhythm of the day by an hour.
constexpr std::string_view kTimeZone = "Europe/Amsterdam";
constexpr int64_t kTimeZoneOffsetMs = kHourMs;
constexpr double kLatitude = 51.9225, kLongitude = 4.4792;

constexpr std::array kPlaces = std::to_array<std::string_view>(
    {"Central Station", "North Gate",     "Market Hall",  "Harbour 1",   "Harbour 2",
     "University",      "City Hall",      "Old Bridge",   "Museum Park", "South Gate",
     "Stadium",         "Ferry Terminal", "Airport Road", "Opera",       "East Gate",
     "Hospital",        "Botanic Garden", "West Gate",    "Fish Market", "Tram Depot",
     "Library",         "River Walk",     "Science Park", "Zoo",         "Lighthouse",
     "Congress Centre", "Cinema Quarter", "Long Quay",    "Castle Hill", "Beach Road"});

// Ordered by how often one sees them. Two of them are there for their non-ASCII bytes.
constexpr std::array kItems =
    std::to_array<std::string_view>({"person",        "car",           "bicycle",
                                     "bus",           "dog",           "truck",
                                     "motorcycle",    "backpack",      "umbrella",
                                     "tram",          "señal",         "handbag",
                                     "van",           "scooter",       "自転車",
                                     "suitcase",      "pushchair",     "cat",
                                     "traffic light", "bird",          "bench",
                                     "train",         "skateboard",    "wheelchair",
                                     "boat",          "taxi",          "horse",
                                     "kite",          "sports ball",   "mobile phone",
                                     "bottle",        "parking meter", "stop sign",
                                     "trailer",       "fire engine",   "ambulance",
                                     "police car",    "excavator",     "shopping trolley",
                                     "balloon"});

// How busy each hour of the day is; DayFactor() scales it to a mean of 1.
constexpr std::array<double, 24> kHours = {0.30, 0.20, 0.14, 0.10, 0.12, 0.30, 0.70, 1.30,
                                           1.80, 1.50, 1.30, 1.40, 1.60, 1.50, 1.35, 1.45,
                                           1.75, 1.95, 1.70, 1.30, 1.00, 0.80, 0.60, 0.45};

double HoursMean() {
  double sum = 0;
  for (const double hour : kHours) sum += hour;
  return sum / static_cast<double>(kHours.size());
}

// The rhythm of the day, linear between the middles of the hours.
double DayFactor(int64_t now_ms, double strength) {
  const double hours =
      static_cast<double>(WindowStart({now_ms + kTimeZoneOffsetMs - kHourMs / 2}, {1}).v) /
      static_cast<double>(kHourMs);
  const double floor = std::floor(hours);
  const auto hour = static_cast<size_t>(((static_cast<int64_t>(floor) % 24) + 24) % 24);
  const double part = hours - floor;
  const double busy = kHours[hour] * (1 - part) + kHours[(hour + 1) % 24] * part;
  return 1 - strength + strength * busy / HoursMean();
}

std::string NumberedName(const std::string_view* names, size_t count, int32_t index) {
  const size_t round = static_cast<size_t>(index) / count;
  const std::string name(names[static_cast<size_t>(index) % count]);
  return round == 0 ? name : fmt::format("{} {}", name, round + 2);
}

std::vector<double> Zipf(int32_t count, double exponent) {
  std::vector<double> weights;
  for (int32_t rank = 1; rank <= count; ++rank) weights.push_back(std::pow(rank, -exponent));
  return weights;
}

template <typename T>
void Shuffle(std::vector<T>& values, Random& random) {
  for (size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1],
              values[static_cast<size_t>(random.Between(0, static_cast<int64_t>(i)))]);
}

enum class ClockFault : uint8_t { kNone, kHourAhead, kTwoHoursBehind, kSeconds };
constexpr int32_t kClockFaults = 3;
constexpr int32_t kMalformedKinds = 8;

struct Camera {
  int64_t location_oid = 0;
  int64_t oid = 0;
  size_t location = 0;
  int64_t index = 0;
  double share = 0;             // of the city's objects
  int64_t id_ms = 0;            // of the last id given ...
  int64_t ids = 0;              // ... and how many in that millisecond
  int64_t heartbeat_phase = 0;  // ms
  int64_t silent_until = INT64_MIN;
  int64_t dark_until = INT64_MIN;
  int64_t fault_until = INT64_MIN;
  ClockFault fault = ClockFault::kNone;
  std::vector<std::string> backlog;     // while dark
  std::vector<std::string> last_batch;  // sent in this second
};

struct Item {
  double weight = 0;  // at the middle of its swing
  double phase = 0;
  double period_ms = 0;
};

struct Location {
  std::string name;
  double latitude = 0, longitude = 0;
  std::vector<Item> items;
  std::vector<double> cumulative;  // of the items' weights now
};

// Something that will happen at a later tick.
struct Due {
  enum class Kind : uint8_t { kFrame, kSend, kRetry } kind = Kind::kFrame;
  size_t camera = 0;
  std::string line;  // kSend, kRetry
  DetectionId id;    // kFrame
  size_t item = 0;
  int32_t frames_left = 0;
};

}  // namespace

Status SimulatorOptions::Validate() const {
  std::vector<std::string> broken;
  auto within = [&](const char* name, double value, double least, double most) {
    if (!(value >= least && value <= most))
      broken.push_back(fmt::format("{} is {}: set it between {} and {}", name, value, least, most));
  };
  within("locations", locations, 1, 1'000);
  within("cameras_per_location", cameras_per_location, 1, 99);
  if (static_cast<int64_t>(locations) * cameras_per_location > kIdCamerasMax)
    broken.push_back(
        fmt::format("locations * cameras_per_location is {} * {}: set at most {} "
                    "cameras, because the ids have room for no more",
                    locations, cameras_per_location, kIdCamerasMax));
  within("rate", rate, 0, 1'000'000);
  within("items", items, 1, 10'000);
  within("location_skew", location_skew, 0, 5);
  within("item_skew", item_skew, 0, 5);
  within("favourite_drift", favourite_drift, 0, 5);
  within("favourite_period", static_cast<double>(favourite_period.v), 1'000, 1e12);
  within("day_rhythm", day_rhythm, 0, 1);
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, double>>{
           {"linger_probability", linger_probability},
           {"disorder_probability", disorder_probability},
           {"retry_probability", retry_probability},
           {"dark_probability", dark_probability},
           {"silent_probability", silent_probability},
           {"wrong_clock_probability", wrong_clock_probability},
           {"malformed_probability", malformed_probability}})
    within(name, value, 0, 1);
  within("frame_time_min", static_cast<double>(frame_time_min.v), kTickMs, 60'000);
  within("frame_time_max", static_cast<double>(frame_time_max.v),
         static_cast<double>(frame_time_min.v), 60'000);
  within("disorder_max", static_cast<double>(disorder_max.v), kTickMs, 3'600'000);
  if (heartbeat_interval.v != 0)
    within("heartbeat_interval", static_cast<double>(heartbeat_interval.v), kTickMs, 3'600'000);
  if (broken.empty()) return Status::Ok();
  return Status::Stop(
      fmt::format("the simulator's options are invalid:\n  {}", fmt::join(broken, "\n  ")));
}

class Simulator::City {
 public:
  City(const SimulatorOptions& options, uint64_t seed) : options_(options), random_(seed) {
    CHECK(options.Validate().ok());
    for (int32_t i = 0; i < options.items; ++i)
      item_names_.push_back(NumberedName(kItems.data(), kItems.size(), i));
    MakeLocations();
    MakeCameras();
  }

  std::vector<std::string> Advance(EventTime now) {
    const int64_t now_tick = WindowStart(now, {kTickMs}).v;
    // The first tick is the next one: an earlier process may have simulated the current one.
    if (!std::exchange(started_, true)) {
      tick_ = now_tick;
      UpdateWeights();
    }
    if (std::abs(now_tick - tick_) > kClockJumpMs) Jump(now_tick);
    while (tick_ < now_tick) {
      tick_ += kTickMs;
      Tick();
    }
    return std::exchange(out_, {});
  }

  std::string LocationsCsv() const;
  const SimulatorStats& stats() const { return stats_; }

 private:
  void MakeLocations();
  void MakeCameras();
  void UpdateWeights();
  void Jump(int64_t now_tick);
  void Tick();
  void StartSpells(Camera& camera);
  void EndSpells(Camera& camera);
  void Arrivals(size_t camera_index);
  void Handle(Due due);
  void Frame(const Due& due);
  void Heartbeat(Camera& camera);
  void Send(Camera& camera, std::string line);
  void RetryBatch(size_t camera_index);
  void Malformed(Camera& camera, const std::string& good);
  DetectionId NewId(Camera& camera);
  int64_t CameraTime(const Camera& camera, int64_t true_ms);
  size_t ChooseItem(const Location& location);
  int64_t Later(int64_t delay_ms) const {
    return tick_ + std::max(kTickMs, delay_ms - delay_ms % kTickMs);
  }

  const SimulatorOptions options_;
  Random random_;
  std::vector<std::string> item_names_;
  std::vector<Location> locations_;
  std::vector<Camera> cameras_;
  bool started_ = false;
  double day_factor_ = 1;
  int64_t tick_ = 0;                         // the last one that has been simulated
  std::map<int64_t, std::vector<Due>> due_;  // by tick
  int32_t clock_faults_ = 0;
  std::vector<std::string> out_;
  SimulatorStats stats_;
};

void Simulator::City::MakeLocations() {
  const std::vector<double> zipf = Zipf(options_.items, options_.item_skew);
  for (int32_t i = 0; i < options_.locations; ++i) {
    Location location;
    location.name = NumberedName(kPlaces.data(), kPlaces.size(), i);
    location.latitude = kLatitude + (random_.Uniform() - 0.5) * 0.06;
    location.longitude = kLongitude + (random_.Uniform() - 0.5) * 0.12;
    // The city's order of items with a few places swapped: here more dogs, there more buses.
    std::vector<size_t> ranks(static_cast<size_t>(options_.items));
    for (size_t rank = 0; rank < ranks.size(); ++rank) ranks[rank] = rank;
    for (size_t rank = 0; rank + 1 < ranks.size(); ++rank) {
      const auto reach = std::min<int64_t>(5, static_cast<int64_t>(ranks.size() - rank));
      if (random_.Chance(0.4))
        std::swap(ranks[rank], ranks[rank + static_cast<size_t>(random_.Between(0, reach))]);
    }
    for (const size_t rank : ranks) {
      const double period = static_cast<double>(options_.favourite_period.v);
      location.items.push_back({zipf[rank], random_.Uniform() * 2 * std::numbers::pi,
                                period * (0.5 + random_.Uniform())});
    }
    location.cumulative.resize(ranks.size());
    locations_.push_back(std::move(location));
  }
}

void Simulator::City::MakeCameras() {
  std::vector<double> shares = Zipf(options_.locations, options_.location_skew);
  double sum = 0;
  for (const double share : shares) sum += share;
  Shuffle(shares, random_);
  for (int32_t i = 0; i < options_.locations; ++i) {
    for (int32_t k = 0; k < options_.cameras_per_location; ++k) {
      Camera camera;
      camera.location = static_cast<size_t>(i);
      camera.location_oid = kFirstLocation + i;
      camera.oid = camera.location_oid * 100 + k + 1;
      camera.index = static_cast<int64_t>(cameras_.size());
      camera.share = shares[camera.location] / sum / options_.cameras_per_location;
      if (options_.heartbeat_interval.v > 0)
        camera.heartbeat_phase =
            random_.Between(0, options_.heartbeat_interval.v) / kTickMs * kTickMs;
      cameras_.push_back(std::move(camera));
    }
  }
}

void Simulator::City::UpdateWeights() {
  day_factor_ = DayFactor(tick_, options_.day_rhythm);
  for (Location& location : locations_) {
    double sum = 0;
    for (size_t i = 0; i < location.items.size(); ++i) {
      const Item& item = location.items[i];
      const double angle = 2 * std::numbers::pi *
                           std::fmod(static_cast<double>(tick_), item.period_ms) / item.period_ms;
      sum += item.weight * std::exp(options_.favourite_drift * std::sin(angle + item.phase));
      location.cumulative[i] = sum;
    }
  }
}

// Forgets what is due and ends all spells. Ids go on from the greatest one given.
void Simulator::City::Jump(int64_t now_tick) {
  stats_.skipped_ms += now_tick - tick_;
  tick_ = now_tick;
  due_.clear();
  for (Camera& camera : cameras_)
    camera.silent_until = camera.dark_until = camera.fault_until = INT64_MIN;
}

void Simulator::City::Tick() {
  if (tick_ % kSecondMs == 0) UpdateWeights();
  for (; !due_.empty() && due_.begin()->first <= tick_; due_.erase(due_.begin())) {
    std::vector<Due> now = std::move(due_.begin()->second);
    for (Due& due : now) Handle(std::move(due));
  }
  for (size_t i = 0; i < cameras_.size(); ++i) {
    Camera& camera = cameras_[i];
    EndSpells(camera);
    // Spells start at a different moment of the minute for each camera.
    if ((tick_ + camera.index * 1'700) % kMinuteMs == 0) StartSpells(camera);
    if (camera.silent_until > tick_) continue;
    Arrivals(i);
    Heartbeat(camera);
    if (tick_ % kSecondMs == 0) RetryBatch(i);
  }
}

void Simulator::City::StartSpells(Camera& camera) {
  if (random_.Chance(options_.dark_probability) && camera.dark_until <= tick_) {
    camera.dark_until = tick_ + random_.Between(10, 61) * kSecondMs;
    ++stats_.dark_spells;
  }
  if (random_.Chance(options_.silent_probability)) {
    camera.silent_until = tick_ + random_.Between(120, 601) * kSecondMs;
    ++stats_.silent_spells;
  }
  if (random_.Chance(options_.wrong_clock_probability)) {
    camera.fault_until = tick_ + random_.Between(20, 61) * kSecondMs;
    camera.fault = static_cast<ClockFault>(1 + clock_faults_++ % kClockFaults);
  }
}

void Simulator::City::EndSpells(Camera& camera) {
  if (camera.fault_until <= tick_) camera.fault = ClockFault::kNone;
  if (camera.dark_until > tick_ || camera.backlog.empty()) return;
  stats_.backlog += static_cast<int64_t>(camera.backlog.size());
  std::move(camera.backlog.begin(), camera.backlog.end(), std::back_inserter(out_));
  camera.backlog.clear();
}

// New objects in the view of a camera.
void Simulator::City::Arrivals(size_t camera_index) {
  Camera& camera = cameras_[camera_index];
  const double frames = 1 + options_.linger_probability * kExtraFramesMean;
  const double mean = options_.rate / frames * camera.share * day_factor_ * kTickMs / kSecondMs;
  for (int64_t left = random_.Poisson(mean); left > 0; --left) {
    Due due;
    due.camera = camera_index;
    due.id = NewId(camera);
    due.item = ChooseItem(locations_[camera.location]);
    if (random_.Chance(options_.linger_probability))
      due.frames_left = static_cast<int32_t>(random_.Between(1, kExtraFramesMax + 1));
    ++stats_.objects;
    Frame(due);
  }
}

void Simulator::City::Handle(Due due) {
  Camera& camera = cameras_[due.camera];
  if (camera.silent_until > tick_) return;  // switched off: it has lost what it had in memory
  if (due.kind == Due::Kind::kFrame) {
    Frame(due);
  } else if (due.kind == Due::Kind::kSend || camera.dark_until > tick_) {
    Send(camera, std::move(due.line));
  } else {
    out_.push_back(std::move(due.line));  // a retry is not tried again
  }
}

// The camera sees an object once.
void Simulator::City::Frame(const Due& due) {
  Camera& camera = cameras_[due.camera];
  const int64_t seen_ms = tick_ - random_.Between(0, kTickMs);
  std::string line =
      fmt::format(R"({{"geographical_location_oid":{},"video_camera_oid":{},"detection_oid":{},)"
                  R"("item_name":"{}","timestamp_detected":{}}})",
                  camera.location_oid, camera.oid, due.id.v, item_names_[due.item],
                  CameraTime(camera, seen_ms));
  ++stats_.detections;
  if (due.frames_left > 0) {
    Due next = due;
    --next.frames_left;
    const int64_t delay = random_.Between(options_.frame_time_min.v, options_.frame_time_max.v + 1);
    due_[Later(delay)].push_back(std::move(next));
  }
  if (random_.Chance(options_.malformed_probability)) Malformed(camera, line);
  if (random_.Chance(options_.disorder_probability)) {
    ++stats_.disordered;
    const int64_t delay = random_.Between(0, options_.disorder_max.v + 1);
    due_[Later(delay)].push_back({Due::Kind::kSend, due.camera, std::move(line)});
  } else {
    Send(camera, std::move(line));
  }
}

void Simulator::City::Heartbeat(Camera& camera) {
  const int64_t interval = options_.heartbeat_interval.v;
  if (interval == 0 || (tick_ + camera.heartbeat_phase) % interval >= kTickMs) return;
  ++stats_.heartbeats;
  Send(camera,
       fmt::format(R"({{"video_camera_oid":{},"geographical_location_oid":{},"heartbeat":{}}})",
                   camera.oid, camera.location_oid, CameraTime(camera, tick_)));
}

void Simulator::City::Send(Camera& camera, std::string line) {
  if (camera.dark_until > tick_) {
    camera.backlog.push_back(std::move(line));
    return;
  }
  if (options_.retry_probability > 0) camera.last_batch.push_back(line);
  out_.push_back(std::move(line));
}

// As if an answer was lost: the camera sends its last second once more.
void Simulator::City::RetryBatch(size_t camera_index) {
  std::vector<std::string> batch = std::exchange(cameras_[camera_index].last_batch, {});
  if (batch.empty() || !random_.Chance(options_.retry_probability)) return;
  stats_.retried += static_cast<int64_t>(batch.size());
  std::vector<Due>& due = due_[Later(random_.Between(kSecondMs, 3 * kSecondMs))];
  for (std::string& line : batch) due.push_back({Due::Kind::kRetry, camera_index, std::move(line)});
}

void Simulator::City::Malformed(Camera& camera, const std::string& good) {
  auto without = [&](std::string_view from, std::string_view to) {
    std::string line = good;
    const size_t at = line.find(from);
    return line.replace(at, from.size(), to);
  };
  std::string line;
  switch (stats_.malformed++ % kMalformedKinds) {
    case 0:
      line = good.substr(0, good.size() / 2);
      break;
    case 1:
      line = without("\"item_name\"", "\"item\"");
      break;
    case 2:
      line = without("\"timestamp_detected\":", "\"timestamp_detected\":\"yesterday\",\"was\":");
      break;
    case 3:
      line = without("\"item_name\":\"", "\"item_name\":\"" + std::string(kItemNameBytesMax, 'x'));
      break;
    case 4:
      line = "camera restarted";
      break;
    case 5:
      line = without("\"item_name\":\"", "\"item_name\":\"\xff\xfe");  // no UTF-8
      break;
    case 6:
      line = "[1,2,3]";
      break;
    default:
      line = without("\"detection_oid\":", "\"detection_oid\":null,\"was\":");
      break;
  }
  Send(camera, std::move(line));
}

DetectionId Simulator::City::NewId(Camera& camera) {
  // The objects of a tick share its milliseconds. In a crowd the ids run ahead of the time.
  const int64_t first_ms = tick_ - kTickMs;
  if (camera.id_ms < first_ms) {
    camera.id_ms = first_ms;
    camera.ids = 0;
  } else if (camera.ids == kIdsPerCameraMs) {
    ++camera.id_ms;
    camera.ids = 0;
  }
  return SimulatedId(camera.id_ms, camera.index, camera.ids++);
}

int64_t Simulator::City::CameraTime(const Camera& camera, int64_t true_ms) {
  switch (camera.fault) {
    case ClockFault::kNone:
      return true_ms;
    case ClockFault::kHourAhead:
      ++stats_.clock_ahead;
      return true_ms + kHourMs;
    case ClockFault::kTwoHoursBehind:
      ++stats_.clock_behind;
      return true_ms - 2 * kHourMs;
    case ClockFault::kSeconds:
      ++stats_.clock_seconds;
      return true_ms / 1'000;
  }
  return true_ms;
}

size_t Simulator::City::ChooseItem(const Location& location) {
  const double at = random_.Uniform() * location.cumulative.back();
  const auto chosen = std::upper_bound(location.cumulative.begin(), location.cumulative.end(), at);
  return std::min(static_cast<size_t>(chosen - location.cumulative.begin()),
                  location.cumulative.size() - 1);
}

std::string Simulator::City::LocationsCsv() const {
  std::string csv =
      "geographical_location_oid,geographical_location,latitude,longitude,time_zone\n";
  for (size_t i = 0; i < locations_.size(); ++i) {
    const Location& location = locations_[i];
    csv += fmt::format("{},{},{:.5f},{:.5f},{}\n", kFirstLocation + static_cast<int64_t>(i),
                       location.name, location.latitude, location.longitude, kTimeZone);
  }
  csv += fmt::format("{},Town square,{:.5f},{:.5f},{}\n", kTownSquare, kLatitude, kLongitude,
                     kTimeZone);
  return csv;
}

Simulator::Simulator(const SimulatorOptions& options, uint64_t seed)
    : city_(std::make_unique<City>(options, seed)) {}

Simulator::~Simulator() = default;

std::vector<std::string> Simulator::Advance(EventTime now) { return city_->Advance(now); }

std::string Simulator::LocationsCsv() const { return city_->LocationsCsv(); }

const SimulatorStats& Simulator::stats() const { return city_->stats(); }

}  // namespace sightline
