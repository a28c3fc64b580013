#include "batch/count_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/check.h"
#include "batch/input.h"
#include "operators/count_operator.h"
#include "operators/decode.h"

namespace sightline {
namespace {

// Dead letters are not part of the result, so they are dropped when the open segment has so many
// bytes.
constexpr size_t kOpenBytesMax = 16 << 20;

struct Block {
  explicit Block(const DecodeRules& rules) : decoder(rules) {}
  LineBlock lines;
  Decoder decoder;  // owns what the events' views point to
  std::vector<Event> events;
  int64_t number = 0;
  bool decoded = false;
};

// Threads share three jobs: read the next block, decode it, and count decoded blocks in order. Only
// one thread at a time reads, and only one counts.
class FileCounter {
 public:
  FileCounter(const PipelineSpec& spec, const CountFilesOptions& options)
      : spec_(spec), input_(options.paths), op_(spec, options.hash_seed) {
    for (int32_t i = 0; i < options.threads * 2 + 2; ++i)
      free_.push_back(std::make_unique<Block>(spec.decode));
  }

  Result<CountFilesResult> Run(int32_t threads,
                               const std::function<void(const CountFilesProgress&)>& progress) {
    std::vector<std::thread> others;
    for (int32_t i = 1; i < threads; ++i) others.emplace_back([this] { Work({}); });
    Work(progress);
    for (std::thread& other : others) other.join();
    if (!failure_.ok()) return failure_;
    TakeOpen();
    return CountFilesResult{std::move(result_), op_.clock_jumps(), op_.id_conflicts()};
  }

 private:
  void Work(const std::function<void(const CountFilesProgress&)>& progress) {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (CountReady(lock, progress)) continue;
      if (!failure_.ok() || (ended_ && in_work_ == 0)) break;
      if (!ended_ && !reading_ && !free_.empty()) {
        ReadAndDecode(lock);
      } else {
        changed_.wait(lock);
      }
    }
    changed_.notify_all();
  }

  // Counts the next block in order if it is decoded and nobody is counting.
  bool CountReady(std::unique_lock<std::mutex>& lock,
                  const std::function<void(const CountFilesProgress&)>& progress) {
    if (counting_ || in_order_.empty() || !in_order_.front()->decoded || !failure_.ok())
      return false;
    counting_ = true;
    std::unique_ptr<Block> block = std::move(in_order_.front());
    in_order_.pop_front();
    lock.unlock();
    op_.OnEvents({block->number}, kNoAppendTime, block->events);
    events_ += static_cast<int64_t>(block->events.size());
    if (op_.open_bytes() > kOpenBytesMax) TakeOpen();
    block->events.clear();
    block->decoder.Clear();
    if (progress) progress({input_.bytes_read(), input_.bytes_total(), events_});
    lock.lock();
    counting_ = false;
    --in_work_;
    block->decoded = false;
    free_.push_back(std::move(block));
    changed_.notify_all();
    return true;
  }

  void ReadAndDecode(std::unique_lock<std::mutex>& lock) {
    reading_ = true;
    std::unique_ptr<Block> owned = std::move(free_.back());
    free_.pop_back();
    lock.unlock();
    Result<bool> more = input_.Next(&owned->lines);
    lock.lock();
    reading_ = false;
    changed_.notify_all();
    if (!more.ok() || !more.value()) {
      if (!more.ok()) failure_ = more.status();
      ended_ = true;
      return;
    }
    Block* const block = owned.get();
    block->number = next_number_++;
    in_order_.push_back(std::move(owned));
    ++in_work_;
    lock.unlock();
    if (block->lines.text().find_first_not_of(" \t\r\n") != std::string_view::npos)
      block->decoder.Decode(block->lines.text(), block->events);
    lock.lock();
    block->decoded = true;
    changed_.notify_all();
  }

  void TakeOpen() {
    Segment segment = op_.TakeSegment(result_.next, {result_.next.v + 1});
    segment.dead_letters.clear();
    result_.Merge(std::move(segment));
  }

  const PipelineSpec spec_;
  // input_ belongs to the thread that has set reading_, the others to the thread that has set
  // counting_.
  Input input_;
  CountOperator op_;
  Segment result_;
  int64_t events_ = 0;
  // Under mutex_.
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Block>> free_;
  std::deque<std::unique_ptr<Block>> in_order_;
  int64_t next_number_ = 0, in_work_ = 0;
  bool reading_ = false, counting_ = false, ended_ = false;
  Status failure_ = Status::Ok();
};

void AppendCsvText(std::string& out, std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) {
    out += text;
    return;
  }
  out += '"';
  for (char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

struct Row {
  LocationId location;
  std::string_view name, item;
  Window window;
  int64_t count = 0;
};

std::vector<Row> WindowRows(const Segment& result, const PipelineSpec& spec,
                            const std::vector<Location>& locations) {
  std::unordered_map<int64_t, std::string_view> names;
  for (const Location& location : locations) names[location.location.v] = location.name;
  std::vector<Row> rows;
  rows.reserve(result.counts.size());
  for (const CountRow& count : result.counts) {
    const EventTime start = WindowStart(count.key.pane_start, spec.window_size);
    const auto name = names.find(count.key.location.v);
    rows.push_back({.location = count.key.location,
                    .name = name == names.end() ? std::string_view() : name->second,
                    .item = count.key.item,
                    .window = {start, start + spec.window_size},
                    .count = count.count});
  }
  auto key = [](const Row& row) { return std::tie(row.location, row.item, row.window.start); };
  std::sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) { return key(a) < key(b); });
  size_t kept = 0;  // corrections of a window are added to its row
  for (size_t i = 0; i < rows.size(); ++i) {
    if (kept > 0 && key(rows[kept - 1]) == key(rows[i])) {
      rows[kept - 1].count += rows[i].count;
    } else {
      rows[kept++] = rows[i];
    }
  }
  rows.resize(kept);
  return rows;
}

boost::json::object LedgerObject(const Ledger& ledger) {
  boost::json::object object;
  object["received"] = ledger.received;
  for (size_t i = 0; i < kOutcomes; ++i)
    object[ToString(static_cast<Outcome>(i))] = ledger.outcomes[i];
  object["conflicts"] = ledger.conflicts;
  object["heartbeats"] = ledger.heartbeats;
  return object;
}

}  // namespace

Result<CountFilesResult> CountFiles(
    const PipelineSpec& spec, const CountFilesOptions& options,
    const std::function<void(const CountFilesProgress&)>& progress) {
  PipelineSpec file_spec = spec;
  file_spec.pane_size = spec.window_size;  // only windows are printed: panes would cost time
  FileCounter counter(file_spec, options);
  return counter.Run(std::max(options.threads, 1), progress);
}

std::string FormatCounts(const Segment& result, const PipelineSpec& spec,
                         const std::vector<Location>& locations, CountsFormat format) {
  const std::vector<Row> rows = WindowRows(result, spec, locations);
  std::string out;
  if (format == CountsFormat::kCsv) {
    out =
        "geographical_location_oid,geographical_location,item_name,window_start,window_end,"
        "item_count\n";
    for (const Row& row : rows) {
      fmt::format_to(std::back_inserter(out), "{},", row.location.v);
      AppendCsvText(out, row.name);
      out += ',';
      AppendCsvText(out, row.item);
      fmt::format_to(std::back_inserter(out), ",{},{},{}\n", row.window.start.v, row.window.end.v,
                     row.count);
    }
    return out;
  }
  out = "[";
  for (const Row& row : rows) {
    if (out.size() > 1) out += ',';
    fmt::format_to(
        std::back_inserter(out),
        "\n{{\"geographical_location_oid\":{},\"geographical_location\":{},\"item_name\":"
        "{},\"window_start\":{},\"window_end\":{},\"item_count\":{}}}",
        row.location.v,
        row.name.empty() ? "null" : boost::json::serialize(boost::json::string(row.name)),
        boost::json::serialize(boost::json::string(row.item)), row.window.start.v, row.window.end.v,
        row.count);
  }
  return out + "\n]\n";
}

std::string FormatLedger(const Segment& result) {
  const Ledger total = result.Total();
  CHECK(total.Balanced());
  std::string out = fmt::format("received {} =", total.received);
  for (size_t i = 0; i < kOutcomes; ++i)
    fmt::format_to(std::back_inserter(out), "{} {} {}", i == 0 ? "" : " +",
                   ToString(static_cast<Outcome>(i)), total.outcomes[i]);
  fmt::format_to(std::back_inserter(out), "; of the duplicates {} conflict; {} heartbeats\n",
                 total.conflicts, total.heartbeats);
  return out;
}

std::string FormatClockJumps(const ClockJumps& jumps, const PipelineSpec& spec) {
  if (jumps.count == 0) return "";
  return fmt::format(
      "warning: jumps of camera clocks: {}; the last was that of camera {}, whose times went back "
      "by more than {} s: look for wrong times in the counts\n",
      jumps.count, jumps.camera.v, spec.dedup_horizon.v / 1'000);
}

// Names the newest pair of each kind: the remedies are the same for all.
std::string FormatIdConflicts(const IdConflicts& conflicts) {
  std::string between, within;
  for (const IdConflicts::Pair& pair : conflicts.pairs()) {
    if (pair.first != pair.second) {
      between = fmt::format(
          "warning: cameras {} and {} send the same detection_oid for different detections, and "
          "only the first counts: if ids are unique only per camera, count with "
          "--identity-camera\n",
          pair.first.v, pair.second.v);
    } else {
      within = fmt::format(
          "warning: camera {} gives the same detection_oid again for another item or location, and "
          "only the first counts: make its tracker's ids go on over restarts\n",
          pair.first.v);
    }
  }
  return between + within;
}

std::string FormatLedgerJson(const Segment& result) {
  boost::json::object document = LedgerObject(result.Total());
  boost::json::array by_camera;
  for (const LedgerRow& row : result.ledger) {
    boost::json::object entry = LedgerObject(row.ledger);
    if (row.key.known) {
      entry["geographical_location_oid"] = row.key.location.v;
      entry["video_camera_oid"] = row.key.camera.v;
    } else {
      entry["unknown"] = true;
    }
    by_camera.push_back(std::move(entry));
  }
  document["by_camera"] = std::move(by_camera);
  return boost::json::serialize(document) + "\n";
}

}  // namespace sightline
