#include "batch/count_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "batch/input.h"
#include "operators/count_operator.h"
#include "operators/decode.h"

namespace sightline {
namespace {

// Dead letters are not part of the result, so they are dropped when the open segment has so many
// bytes.
constexpr size_t kOpenBytesMax = 16 << 20;
constexpr size_t kMalformedNamed = 3;

struct Block {
  explicit Block(const DecodeRules& rules) : decoder(rules) {}
  LineBlock lines;
  Decoder decoder;  // owns what the events' views point to
  std::vector<Event> events;
  std::vector<size_t> malformed;  // which of the events
  int64_t line_ends = 0;
  int64_t number = 0;
  size_t file = 0;  // from which it was read
  bool first_of_file = false;
  bool decoded = false;
};

int64_t CountLineEnds(std::string_view text) {
  int64_t count = 0;
  for (size_t at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1))
    ++count;
  return count;
}

void DecodeBlock(Block* block) {
  const std::string_view text = block->lines.text();
  block->line_ends = CountLineEnds(text);
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) return;
  block->decoder.Decode(text, block->events);
  for (size_t i = 0; i < block->events.size(); ++i)
    if (block->events[i].kind == Event::Kind::kMalformed) block->malformed.push_back(i);
}

// Takes the blocks in their order, and knows with which line and element each begins.
class MalformedFinder {
 public:
  explicit MalformedFinder(const std::vector<std::string>& files) : files_(files) {}

  void Take(const Block& block) {
    const std::string_view text = block.lines.text();
    if (block.first_of_file) {
      lines_before_ = elements_before_ = 0;
      const size_t begin = text.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
      in_array_ = begin != std::string_view::npos && text[begin] == '[';
    }
    for (const size_t i : block.malformed) {
      const Event& event = block.events[i];
      ++found_.by_reason[{event.reason, std::string(event.field)}];
      if (found_.first.size() == kMalformedNamed) continue;
      const auto begin = static_cast<size_t>(event.bytes.data() - text.data());
      const int64_t line = lines_before_ + CountLineEnds(text.substr(0, begin)) + 1;
      found_.first.push_back({.file = files_[block.file],
                              .in_array = in_array_,
                              .number = in_array_ ? elements_before_ + event.index + 1 : line,
                              .reason = event.reason,
                              .field = std::string(event.field)});
    }
    lines_before_ += block.line_ends;
    elements_before_ += static_cast<int64_t>(block.events.size());
  }
  MalformedElements Found() && { return std::move(found_); }

 private:
  const std::vector<std::string> files_;
  MalformedElements found_;
  int64_t lines_before_ = 0, elements_before_ = 0;  // in the file
  bool in_array_ = false;
};

// Threads share three jobs: read the next block, decode it, and count decoded blocks in order. Only
// one thread at a time reads, and only one counts.
class FileCounter {
 public:
  FileCounter(const PipelineSpec& spec, const CountFilesOptions& options)
      : spec_(spec),
        files_(options.paths),
        bytes_total_(Input(options.paths).bytes_total()),
        malformed_(options.paths),
        op_(spec, options.hash_seed) {
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
    return CountFilesResult{.counted = std::move(result_),
                            .clock_jumps = op_.clock_jumps(),
                            .id_conflicts = op_.id_conflicts(),
                            .malformed = std::move(malformed_).Found()};
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
    malformed_.Take(*block);
    op_.OnEvents({block->number}, kNoAppendTime, block->events);
    events_ += static_cast<int64_t>(block->events.size());
    if (op_.open_bytes() > kOpenBytesMax) TakeOpen();
    block->events.clear();
    block->malformed.clear();
    block->decoder.Clear();
    if (progress) progress({bytes_read_, bytes_total_, events_});
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
    Result<bool> more = ReadBlock(owned.get());
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
    DecodeBlock(block);
    lock.lock();
    block->decoded = true;
    changed_.notify_all();
  }

  // False: the last file has ended.
  Result<bool> ReadBlock(Block* block) {
    for (;;) {
      block->first_of_file = input_ == nullptr;
      if (input_ == nullptr) {
        if (next_file_ == files_.size()) return false;
        input_ = std::make_unique<Input>(std::vector{files_[next_file_++]});
      }
      Result<bool> more = input_->Next(&block->lines);
      bytes_read_ = bytes_before_ + input_->bytes_read();
      block->file = next_file_ - 1;
      if (!more.ok() || more.value()) return more;
      bytes_before_ = bytes_read_;
      input_.reset();
    }
  }

  void TakeOpen() {
    Segment segment = op_.TakeSegment(result_.next, {result_.next.v + 1});
    segment.dead_letters.clear();
    result_.Merge(std::move(segment));
  }

  const PipelineSpec spec_;
  const std::vector<std::string> files_;
  const int64_t bytes_total_;
  std::atomic<int64_t> bytes_read_ = 0;  // of all files
  // Of the thread that has set reading_.
  std::unique_ptr<Input> input_;  // of one file, so that the file of each block is known
  size_t next_file_ = 0;
  int64_t bytes_before_ = 0;  // of the files before
  // Of the thread that has set counting_.
  MalformedFinder malformed_;
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

std::string ReasonText(MalformedReason reason, std::string_view field) {
  return fmt::format("{}{}{}", ToString(reason), field.empty() ? "" : " ", field);
}

std::string PlaceText(const MalformedElements::Element& element) {
  return fmt::format("{} {} of '{}'", element.in_array ? "element" : "line", element.number,
                     element.file == "-" ? "standard input" : element.file);
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

std::vector<WindowCount> WindowCounts(const Segment& result, const PipelineSpec& spec,
                                      const std::vector<Location>& locations) {
  std::unordered_map<int64_t, std::string_view> names;
  for (const Location& location : locations) names[location.location.v] = location.name;
  std::vector<WindowCount> rows;
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
  auto key = [](const WindowCount& row) {
    return std::tie(row.location, row.item, row.window.start);
  };
  std::sort(rows.begin(), rows.end(),
            [&](const WindowCount& a, const WindowCount& b) { return key(a) < key(b); });
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

std::string FormatCounts(const std::vector<WindowCount>& rows, CountsFormat format) {
  std::string out;
  if (format == CountsFormat::kCsv) {
    out =
        "geographical_location_oid,geographical_location,item_name,window_start,window_end,"
        "item_count\n";
    for (const WindowCount& row : rows) {
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
  for (const WindowCount& row : rows) {
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

bool CountFilesResult::NothingAccepted() const {
  const Ledger total = counted.Total();
  return total.received > 0 && total.heartbeats == 0 &&
         total.received == total.of(Outcome::kMalformed);
}

std::string FormatMalformed(const CountFilesResult& result) {
  const MalformedElements& malformed = result.malformed;
  if (malformed.first.empty()) return "";
  const Ledger total = result.counted.Total();
  const int64_t count = total.of(Outcome::kMalformed);
  if (result.NothingAccepted()) {
    std::string text = "nothing could be decoded: ";
    for (const MalformedElements::Element& element : malformed.first)
      fmt::format_to(std::back_inserter(text), "{}{}: {}",
                     &element == &malformed.first.front() ? "" : "; ", PlaceText(element),
                     ReasonText(element.reason, element.field));
    if (const int64_t more = count - static_cast<int64_t>(malformed.first.size()); more > 0)
      fmt::format_to(std::back_inserter(text), "; and {} more", more);
    return text + "\n";
  }
  std::vector<std::pair<int64_t, std::string>> reasons;
  for (const auto& [key, number] : malformed.by_reason)
    reasons.emplace_back(number, ReasonText(key.first, key.second));
  std::ranges::sort(reasons, std::greater());
  std::string text = fmt::format("warning: malformed elements: {} of {} (", count,
                                 total.received + total.heartbeats);
  for (const auto& [number, reason] : reasons)
    fmt::format_to(std::back_inserter(text), "{}{} {}", text.ends_with('(') ? "" : ", ", number,
                   reason);
  return text + fmt::format("); the first is {}\n", PlaceText(malformed.first.front()));
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
