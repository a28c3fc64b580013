// Generates the input of a benchmark and, independently, the counts that must come out of it.
//
//   generate --events 10000000 --out events.ndjson [--truth truth.csv] [--seed 42] [--seconds 1800]
//
// Half an hour (--seconds) of detections from 2,000 cameras at 200 locations, with 50 kinds of
// items. Locations and items are Zipf distributed, as crowds are. Lines are in order of arrival; a
// detection happened up to 5 s before it arrives. 10 % of the lines are copies of an earlier line,
// up to 30 s later. The truth counts first copies as they are generated, and shares no code with
// the engine. The same seed gives the same bytes.

#include <fmt/compile.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::array<std::string_view, 50> kItems = {"person",        "car",
                                                     "truck",         "bicycle",
                                                     "motorcycle",    "bus",
                                                     "dog",           "cat",
                                                     "backpack",      "umbrella",
                                                     "handbag",       "suitcase",
                                                     "traffic light", "stop sign",
                                                     "bench",         "train",
                                                     "boat",          "fire hydrant",
                                                     "parking meter", "bird",
                                                     "horse",         "sheep",
                                                     "cow",           "elephant",
                                                     "bear",          "zebra",
                                                     "giraffe",       "hat",
                                                     "shoe",          "eye glasses",
                                                     "tie",           "frisbee",
                                                     "skis",          "snowboard",
                                                     "sports ball",   "kite",
                                                     "baseball bat",  "baseball glove",
                                                     "skateboard",    "surfboard",
                                                     "tennis racket", "bottle",
                                                     "plate",         "wine glass",
                                                     "cup",           "fork",
                                                     "knife",         "spoon",
                                                     "bowl",          "banana"};
constexpr uint32_t kLocations = 200;
constexpr uint32_t kCamerasPerLocation = 10;
constexpr int64_t kStartMs = 1'763'800'020'000;  // a whole minute
constexpr int64_t kDisorderMs = 5'000;
constexpr int64_t kCopyDelayMs = 30'000;
constexpr int64_t kWindowMs = 60'000;

// splitmix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  uint64_t Below(uint64_t bound) { return Next() % bound; }

 private:
  uint64_t state_;
};

// Item k of n is drawn with a probability proportional to 1/(k+1).
class Zipf {
 public:
  explicit Zipf(size_t n) {
    double sum = 0;
    for (size_t k = 0; k < n; ++k) cumulative_.push_back(sum += 1.0 / static_cast<double>(k + 1));
    for (double& value : cumulative_) value /= sum;
  }
  uint32_t Draw(Random& random) const {
    const double u = static_cast<double>(random.Next() >> 11) * 0x1p-53;
    const auto at = std::lower_bound(cumulative_.begin(), cumulative_.end(), u);
    return static_cast<uint32_t>(at - cumulative_.begin());
  }

 private:
  std::vector<double> cumulative_;
};

struct Detection {
  uint32_t location = 0;
  uint32_t camera = 0;
  uint32_t item = 0;
  uint64_t id = 0;
  int64_t time_ms = 0;
};

struct Copy {
  uint64_t due = 0;  // the line before which it is sent again
  Detection detection;
  friend bool operator<(const Copy& a, const Copy& b) { return a.due > b.due; }
};

// A file that is written in large pieces; the first failure ends the program.
class Output {
 public:
  explicit Output(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "wb")) {
    if (file_ == nullptr) Fail();
  }
  ~Output() {
    Flush();
    if (std::fclose(file_) != 0) Fail();
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  std::string& buffer() {
    if (buffer_.size() > 1 << 20) Flush();
    return buffer_;
  }

 private:
  void Flush() {
    if (std::fwrite(buffer_.data(), 1, buffer_.size(), file_) != buffer_.size()) Fail();
    buffer_.clear();
  }
  [[noreturn]] void Fail() {
    std::perror(fmt::format("generate: cannot write '{}'", path_).c_str());
    std::exit(1);
  }
  std::string path_;
  std::FILE* file_;
  std::string buffer_;
};

class Truth {
 public:
  explicit Truth(int64_t span_ms)
      : windows_(static_cast<size_t>(span_ms / kWindowMs + 1)),
        counts_(kLocations * kItems.size() * windows_) {}
  void Add(const Detection& detection) {
    const auto window = static_cast<size_t>((detection.time_ms - kStartMs) / kWindowMs);
    ++counts_[(detection.location * kItems.size() + detection.item) * windows_ + window];
  }
  // Sorted by location, item name in byte order, window.
  void Write(const std::string& path) const {
    std::vector<size_t> by_name(kItems.size());
    std::iota(by_name.begin(), by_name.end(), size_t{0});
    std::sort(by_name.begin(), by_name.end(),
              [](size_t a, size_t b) { return kItems[a] < kItems[b]; });
    Output out(path);
    out.buffer() +=
        "geographical_location_oid,geographical_location,item_name,window_start,window_end,"
        "item_count\n";
    for (size_t location = 0; location < kLocations; ++location) {
      for (size_t item : by_name) {
        for (size_t window = 0; window < windows_; ++window) {
          const int64_t count = counts_[(location * kItems.size() + item) * windows_ + window];
          if (count == 0) continue;
          const int64_t start = kStartMs + static_cast<int64_t>(window) * kWindowMs;
          fmt::format_to(std::back_inserter(out.buffer()), FMT_COMPILE("{},,{},{},{},{}\n"),
                         location, kItems[item], start, start + kWindowMs, count);
        }
      }
    }
  }

 private:
  size_t windows_;
  std::vector<int64_t> counts_;
};

void AppendLine(const Detection& detection, std::string& out) {
  fmt::format_to(std::back_inserter(out),
                 FMT_COMPILE("{{\"geographical_location_oid\":{},\"video_camera_oid\":{},"
                             "\"detection_oid\":{},\"item_name\":\"{}\","
                             "\"timestamp_detected\":{}}}\n"),
                 detection.location, detection.camera, detection.id, kItems[detection.item],
                 detection.time_ms);
}

struct Options {
  uint64_t events = 1'000'000;
  uint64_t seed = 42;
  uint64_t seconds = 1'800;
  std::string out;
  std::string truth;
};

void Generate(const Options& options) {
  Random random(options.seed);
  const Zipf locations(kLocations), items(kItems.size());
  const auto span_ms = static_cast<int64_t>(options.seconds) * 1'000;
  const double step_ms =
      static_cast<double>(span_ms - kDisorderMs) / static_cast<double>(options.events);
  const auto copy_delay = static_cast<uint64_t>(static_cast<double>(kCopyDelayMs) / step_ms) + 1;
  Truth truth(span_ms);
  std::priority_queue<Copy> copies;
  Output out(options.out);
  uint64_t distinct = 0;
  for (uint64_t line = 0; line < options.events; ++line) {
    if (!copies.empty() && copies.top().due <= line) {
      AppendLine(copies.top().detection, out.buffer());
      copies.pop();
      continue;
    }
    Detection detection;
    detection.location = locations.Draw(random);
    detection.camera = detection.location * kCamerasPerLocation +
                       static_cast<uint32_t>(random.Below(kCamerasPerLocation));
    detection.item = items.Draw(random);
    const auto arrival =
        kStartMs + kDisorderMs + static_cast<int64_t>(static_cast<double>(line) * step_ms);
    detection.time_ms = arrival - static_cast<int64_t>(random.Below(kDisorderMs + 1));
    // Knuth's multiplicative hash: distinct, and in no order.
    detection.id = 100'000'000 + (distinct++ * 2'654'435'761ull) % (1ull << 32);
    truth.Add(detection);
    // One in nine detections comes twice: a tenth of all lines.
    if (random.Below(9) == 0) copies.push({line + 1 + random.Below(copy_delay), detection});
    AppendLine(detection, out.buffer());
  }
  if (!options.truth.empty()) truth.Write(options.truth);
  fmt::print(
      "{} events, {} distinct, {:.2f} % copies\n", options.events, distinct,
      100.0 * static_cast<double>(options.events - distinct) / static_cast<double>(options.events));
}

bool ParseNumber(std::string_view text, uint64_t* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size();
}

bool Parse(int count, char** arguments, Options* options) {
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view name = arguments[i], value = arguments[i + 1];
    if (name == "--events") {
      if (!ParseNumber(value, &options->events) || options->events == 0) return false;
    } else if (name == "--seed") {
      if (!ParseNumber(value, &options->seed)) return false;
    } else if (name == "--seconds") {
      if (!ParseNumber(value, &options->seconds)) return false;
      if (options->seconds < 10 || options->seconds > 1'000'000) return false;
    } else if (name == "--out") {
      options->out = value;
    } else if (name == "--truth") {
      options->truth = value;
    } else {
      return false;
    }
  }
  return count % 2 == 1 && !options->out.empty();
}

}  // namespace

int main(int count, char** arguments) {
  Options options;
  if (!Parse(count, arguments, &options)) {
    fmt::print(stderr,
               "usage: {} --out FILE [--truth FILE] [--events N] [--seed N] "
               "[--seconds 10..1000000]\n",
               arguments[0]);
    return 2;
  }
  Generate(options);
  return 0;
}
