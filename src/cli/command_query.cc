#include "cli/command_query.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <iterator>
#include <memory>
#include <thread>

#include "cli/lake_client.h"
#include "config/options.h"
#include "model/window_choice.h"
#include "operators/decode.h"

namespace sightline {
namespace {

constexpr auto kWatchPause = std::chrono::seconds(1);
constexpr Millis kMinute{60'000};

struct Options {
  LakeClientOptions where;
  std::string format = "table";
  std::string sql;
  int64_t rows_max = 1'000'000;
  std::string location = "all", window = "5m", at, from, to, group = "none";
  int64_t limit = 10;
  bool watch = false;
};

int Fail(std::string_view command, const std::string& message) {
  fmt::print(stderr, "sightline {}: {}\n", command, message);
  return 1;
}

Status ToStdout(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size())
    return Status::Stop("cannot write to standard output");
  return Status::Ok();
}

Result<std::unique_ptr<LakeClient>> Open(const Options& options, std::string_view command) {
  return LakeClient::Open(options.where, [&](const std::string& note) {
    fmt::print(stderr, "sightline {}: {}\n", command, note);
  });
}

// Names what the answer lacks. The exit code stays 0: everything else is right.
void Warn(std::string_view command, const LakeClient& client) {
  for (const std::string& missing : client.missing())
    fmt::print(stderr, "sightline {}: {}\n", command, missing);
}

int RunQuery(const Options& options) {
  const Result<ResultFormat> format = ParseResultFormat(options.format);
  if (!format.ok()) return Fail("query", format.status().message());
  if (format.value() == ResultFormat::kParquet && isatty(STDOUT_FILENO) != 0)
    return Fail("query", "Parquet cannot be shown on a terminal: redirect the output to a file");
  auto client = Open(options, "query");
  if (!client.ok()) return Fail("query", client.status().message());
  std::string sql = options.sql;
  if (sql == "-") sql.assign(std::istreambuf_iterator<char>(std::cin), {});
  const Status done = client.value()->Query(sql, format.value(), options.rows_max, ToStdout);
  if (!done.ok()) return Fail("query", done.message());
  Warn("query", *client.value());
  if (client.value()->truncated())
    fmt::print(stderr,
               "sightline query: these are only the first {} rows; raise --limit for more\n",
               options.rows_max);
  return std::fflush(stdout) == 0 ? 0 : Fail("query", "cannot write to standard output");
}

// The server knows what time it is and where the location's day begins, so it chooses the range.
Result<std::string> TopParameters(const Options& options) {
  const Result<WindowChoice> window = WindowChoice::Parse(options.window, kMinute);
  if (!window.ok())
    return Status::Stop(
        fmt::format("--window is '{}': {}", options.window, window.status().message()));
  EventTime at;
  if (!options.at.empty() && !ParseTime(options.at, TimeUnit::kMillis, &at))
    return Status::Stop(
        fmt::format("'{}' is not a time: write 2026-11-22T12:00:00Z or milliseconds", options.at));
  return fmt::format("location={}&window={}{}&limit={}&format={}", UrlEncoded(options.location),
                     window.value().ToString(),
                     options.at.empty() ? "" : fmt::format("&at={}", at.v), options.limit,
                     UrlEncoded(options.format));
}

int RunTop(const Options& options) {
  auto client = Open(options, "top");
  if (!client.ok()) return Fail("top", client.status().message());
  for (;;) {
    const Result<std::string> parameters = TopParameters(options);
    if (!parameters.ok()) return Fail("top", parameters.status().message());
    if (const Status fresh = client.value()->Refresh(); !fresh.ok())
      return Fail("top", fresh.message());
    const Result<std::string> answer = client.value()->Get("/v1/top", parameters.value());
    if (!answer.ok()) return Fail("top", answer.status().message());
    if (options.watch && isatty(STDOUT_FILENO) != 0) fmt::print("\x1b[H\x1b[2J");
    if (!ToStdout(answer.value()).ok() || std::fflush(stdout) != 0)
      return Fail("top", "cannot write to standard output");
    Warn("top", *client.value());
    if (!options.watch) return 0;
    std::this_thread::sleep_for(kWatchPause);
  }
}

int RunLedger(const Options& options) {
  auto client = Open(options, "ledger");
  if (!client.ok()) return Fail("ledger", client.status().message());
  std::string parameters =
      fmt::format("group={}&format={}", UrlEncoded(options.group), UrlEncoded(options.format));
  if (options.location != "all") parameters += "&location=" + UrlEncoded(options.location);
  if (!options.from.empty()) parameters += "&from=" + UrlEncoded(options.from);
  if (!options.to.empty()) parameters += "&to=" + UrlEncoded(options.to);
  const Result<std::string> answer = client.value()->Get("/v1/ledger", parameters);
  if (!answer.ok()) return Fail("ledger", answer.status().message());
  if (!ToStdout(answer.value()).ok() || std::fflush(stdout) != 0)
    return Fail("ledger", "cannot write to standard output");
  Warn("ledger", *client.value());
  return 0;
}

void AddWhere(CLI::App* command, Options* options) {
  AddLakePlace(command, &options->where.place);
  command->add_option(
      "--url", options->where.url,
      "The URL of the server. The default is the server that owns the data folder.");
  command
      ->add_option("--format", options->format,
                   "The format of the output: table, csv, excel-csv, json, ndjson or parquet.")
      ->capture_default_str();
}

}  // namespace

void AddQueryCommands(CLI::App& app, int* result) {
  auto options = std::make_shared<Options>();
  CLI::App* query =
      app.add_subcommand("query", "Query the counts in SQL, including those of this second");
  query->add_option("sql", options->sql, "One SELECT statement; - reads it from stdin.")
      ->required();
  query->add_option("--limit", options->rows_max, "The maximum number of rows.")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  AddWhere(query, options.get());
  query->footer(
      "Examples:\n"
      "  sightline query \"SELECT item_name, sum(item_count) FROM item_counts GROUP BY ALL\"\n"
      "  sightline query --format csv - < report.sql > report.csv\n\n"
      "The views are item_counts, item_count_increments, ledger and locations (docs/SQL.md).");
  query->callback([options, result] { *result = RunQuery(*options); });

  CLI::App* top = app.add_subcommand("top", "Print the top items of a window");
  top->add_option("--location", options->location, "The oid of a location, or all.")
      ->capture_default_str();
  top->add_option("--window", options->window,
                  "The length of the window: 1m, 5m, 60m, up to 24h, or today, which begins at "
                  "midnight in the location's time zone, and in UTC for all.")
      ->capture_default_str();
  top->add_option("--at", options->at,
                  "The end of the window, RFC 3339 or Unix ms. The default is now, by the server's "
                  "clock.");
  top->add_option("--limit", options->limit, "The maximum number of items.")
      ->check(CLI::Range(1, 1'000))
      ->capture_default_str();
  top->add_flag("--watch", options->watch, "Print the items again every second, until Ctrl+C.");
  AddWhere(top, options.get());
  top->footer(
      "Examples:\n"
      "  sightline top --location 1002 --window 60m\n"
      "  sightline top --at 2026-11-22T12:00:00Z --format json\n"
      "  sightline top --watch");
  top->callback([options, result] { *result = RunTop(*options); });

  CLI::App* ledger = app.add_subcommand(
      "ledger", "Print what became of the events: counted, duplicate, too late and so on");
  ledger->add_option("--location", options->location, "The oid of a location, or all.")
      ->capture_default_str();
  ledger
      ->add_option("--group", options->group,
                   "The groups of the sums: none, location, camera, hour or source.")
      ->capture_default_str();
  ledger->add_option("--from", options->from,
                     "The start of the range of append time, RFC 3339 or Unix ms.");
  ledger->add_option("--to", options->to,
                     "The end of the range of append time, RFC 3339 or Unix ms; excluded.");
  AddWhere(ledger, options.get());
  ledger->footer(
      "Examples:\n"
      "  sightline ledger --group location\n"
      "  sightline ledger --location 1002 --group camera --from 2026-11-22T00:00:00Z");
  ledger->callback([options, result] { *result = RunLedger(*options); });
}

}  // namespace sightline
