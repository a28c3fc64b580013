#include "cli/command_replay.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <random>
#include <string_view>
#include <thread>
#include <utility>

#include "batch/count_files.h"
#include "connectors/locations/location_file.h"
#include "query/result_table.h"
#include "query/write_result.h"

namespace sightline {
namespace {

struct Options {
  std::vector<std::string> files;
  std::string locations, format = "csv", ledger, window, horizon, orderness, unit = "ms";
  int32_t threads = 0;
  PipelineSpec spec;
};

// Shows progress in one line of a terminal. It prints nothing if stderr is not a terminal.
class ProgressBar {
 public:
  void operator()(const CountFilesProgress& progress) {
    const auto now = std::chrono::steady_clock::now();
    if (!shown_ || now - drawn_ < std::chrono::milliseconds(200)) return;
    drawn_ = now;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const double rate = static_cast<double>(progress.events) / seconds;
    std::string line =
        fmt::format("{:.1f} M events, {:.2f} M/s", progress.events / 1e6, rate / 1e6);
    if (progress.bytes_total > 0) {
      const double part = std::min(1.0, static_cast<double>(progress.bytes_read) /
                                            static_cast<double>(progress.bytes_total));
      const auto filled = static_cast<size_t>(part * 30);
      line = fmt::format("[{}{}] {:3.0f} %  {}  {:.0f} s left", std::string(filled, '#'),
                         std::string(30 - filled, '.'), part * 100, line,
                         part > 0 ? seconds * (1 - part) / part : 0);
    }
    fmt::print(stderr, "\r\x1b[K{}", line);
    drew_ = true;
  }
  ~ProgressBar() {
    if (drew_) fmt::print(stderr, "\r\x1b[K");
  }

 private:
  const bool shown_ = isatty(STDERR_FILENO) != 0;
  bool drew_ = false;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point drawn_ = start_;
};

int Fail(const std::string& message) {
  fmt::print(stderr, "sightline replay: {}\n", message);
  return 1;
}

Status ToStdout(std::string_view bytes) {
  return std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size()
             ? Status::Ok()
             : Status::Stop("cannot write to standard output");
}

// The same columns as in the other formats, but Excel reads no Unix ms.
Status WriteForExcel(const std::vector<WindowCount>& counts) {
  std::vector<Row> rows;
  rows.reserve(counts.size());
  for (const WindowCount& count : counts)
    rows.push_back({count.location.v, count.name.empty() ? Value() : std::string(count.name),
                    std::string(count.item), count.window.start.v * 1'000,
                    count.window.end.v * 1'000, count.count});
  ResultTable table = ResultTable::FromRows({{"geographical_location_oid", ColumnType::kInteger},
                                             {"geographical_location", ColumnType::kText},
                                             {"item_name", ColumnType::kText},
                                             {"window_start", ColumnType::kTimestamp},
                                             {"window_end", ColumnType::kTimestamp},
                                             {"item_count", ColumnType::kInteger}},
                                            std::move(rows));
  return WriteResult(table, ResultFormat::kExcelCsv, ToStdout);
}

int Run(Options& options) {
  std::vector<Location> locations;
  if (!options.locations.empty()) {
    Result<LocationFile> read = ReadLocationFile(options.locations);
    if (!read.ok()) return Fail(read.status().message());
    locations = std::move(read.value().locations);
  }
  options.spec.max_age.reset();
  if (const Status valid = options.spec.Validate(); !valid.ok()) return Fail(valid.message());
  const int32_t cores = std::max(1, static_cast<int32_t>(std::thread::hardware_concurrency()));
  auto bar = std::make_unique<ProgressBar>();
  Result<CountFilesResult> result =
      CountFiles(options.spec,
                 {.paths = options.files,
                  .threads = options.threads > 0 ? options.threads : cores,
                  .hash_seed = std::random_device()()},
                 [&](const CountFilesProgress& progress) { (*bar)(progress); });
  bar.reset();
  if (!result.ok()) return Fail(result.status().message());
  const Segment& counted = result.value().counted;
  const std::vector<WindowCount> counts = WindowCounts(counted, options.spec, locations);
  const Status written =
      options.format == "excel-csv"
          ? WriteForExcel(counts)
          : ToStdout(FormatCounts(
                counts, options.format == "json" ? CountsFormat::kJson : CountsFormat::kCsv));
  if (!written.ok()) return Fail(written.message());
  if (std::fflush(stdout) != 0) return Fail("cannot write to standard output");
  const std::string malformed = FormatMalformed(result.value());
  const bool nothing = result.value().NothingAccepted();
  fmt::print(stderr, "{}{}{}{}{}", FormatLedger(counted), nothing ? "sightline replay: " : "",
             malformed, FormatClockJumps(result.value().clock_jumps, options.spec),
             FormatIdConflicts(result.value().id_conflicts));
  if (!options.ledger.empty()) {
    std::ofstream file(options.ledger, std::ios::binary);
    file << FormatLedgerJson(counted);
    if (!file.flush()) return Fail(fmt::format("cannot write the ledger to '{}'", options.ledger));
  }
  return nothing ? 1 : 0;
}

}  // namespace

void AddReplayCommand(CLI::App& app, int* result) {
  auto options = std::make_shared<Options>();
  CLI::App* replay = app.add_subcommand(
      "replay", "Count the detections in files at full speed, and print the counts");
  replay
      ->add_option("files", options->files,
                   "The files: JSON objects or arrays of them; plain, .gz or .zst; - reads stdin.")
      ->required();
  replay->add_option(
      "--locations", options->locations,
      "The location table: CSV or Parquet with the columns geographical_location_oid "
      "and geographical_location.");
  replay->add_option("--format", options->format, "The format: csv, excel-csv or json.")
      ->check(CLI::IsMember({"csv", "excel-csv", "json"}))
      ->capture_default_str();
  replay->add_option("--ledger", options->ledger,
                     "The file to which the ledger is written, as JSON.");
  replay
      ->add_option("--threads", options->threads,
                   "The number of threads that count. 0 means one per core.")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  auto millis = [&](const char* name, Millis* value, const char* help) {
    replay->add_option(name, value->v, help)->capture_default_str();
  };
  PipelineSpec& spec = options->spec;
  spec.watermark_step = WatermarkStep::kBounded;  // a file has no append times
  millis("--window-ms", &spec.window_size, "The size of the windows.");
  millis("--dedup-horizon-ms", &spec.dedup_horizon,
         "The time for which a detection is remembered.");
  millis("--out-of-orderness-ms", &spec.out_of_orderness,
         "The time by which a camera's events may be out of order.");
  replay
      ->add_option_function<std::string>(
          "--watermark-step",
          [&spec](const std::string& step) {
            spec.watermark_step = step == "free" ? WatermarkStep::kFree : WatermarkStep::kBounded;
          },
          "How far an event moves its camera's watermark. free: to its own time. bounded: by at "
          "most the horizon at once, so that a wrong time costs no other events.")
      ->check(CLI::IsMember({"free", "bounded"}))
      ->default_str("bounded");
  replay->add_option("--count-from-ms", spec.count_from.v,
                     "The start of the range of event time that is counted, in Unix ms.");
  replay->add_option("--count-until-ms", spec.count_until.v,
                     "The end of the range of event time that is counted, in Unix ms; excluded.");
  replay->add_option("--timestamp-zone", spec.decode.timestamp_zone,
                     "The time zone of times that have none, such as Europe/Berlin.");
  const auto choice = [replay](const char* name, auto* value, auto names, const char* help,
                               const char* unless_given) {
    replay->add_option(name, *value, help)
        ->transform(CLI::CheckedTransformer(std::move(names)))
        ->default_str(unless_given);
  };
  choice("--timestamp-unit", &spec.decode.timestamp_unit,
         std::map<std::string, TimeUnit>{{"s", TimeUnit::kSeconds},
                                         {"ms", TimeUnit::kMillis},
                                         {"us", TimeUnit::kMicros},
                                         {"ns", TimeUnit::kNanos}},
         "The unit of timestamps that are numbers: s, ms, us or ns.", "ms");
  choice("--detection-ids", &spec.decode.detection_ids,
         std::map<std::string, DetectionIds>{{"integer", DetectionIds::kInteger},
                                             {"any", DetectionIds::kAny}},
         "What a detection_oid may be: an integer, or any text.", "any");
  choice("--decoding", &spec.decode.version,
         std::map<std::string, Decoding>{{"1", Decoding::kFirst}, {"2", Decoding::kSecond}},
         "The version of the rules by which messages and times are read: 1 or 2.", "2");
  choice(
      "--item-names", &spec.decode.item_names,
      std::map<std::string, ItemNames>{{"as_sent", ItemNames::kAsSent}, {"nfc", ItemNames::kNfc}},
      "as_sent, or nfc: in Unicode's normalization form C.", "as_sent");
  replay->add_flag_callback(
      "--identity-camera", [options] { options->spec.identity = Identity::kCameraAndDetection; },
      "Identify detections by camera and detection_oid, not by detection_oid alone.");
  replay->footer(
      "Examples:\n"
      "  sightline replay detections.ndjson --locations locations.csv > counts.csv\n"
      "  zcat day.ndjson.gz | sightline replay - --format json --ledger ledger.json\n\n"
      "The counts go to stdout, with times in Unix ms (excel-csv: as text, UTC). The ledger goes\n"
      "to stderr, and the reasons for which elements are malformed. The exit code is 1 if all "
      "are.");
  replay->callback([options, result] {
    PipelineSpec& spec = options->spec;
    spec.pane_size = spec.window_size;
    *result = Run(*options);
  });
}

}  // namespace sightline
