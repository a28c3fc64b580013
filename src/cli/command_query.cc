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
  LakeAskerOptions where;
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

Result<std::unique_ptr<LakeAsker>> Open(const Options& options, std::string_view command) {
  return LakeAsker::Open(options.where, [&](const std::string& note) {
    fmt::print(stderr, "sightline {}: {}\n", command, note);
  });
}

int RunQuery(const Options& options) {
  const Result<ResultFormat> format = ParseResultFormat(options.format);
  if (!format.ok()) return Fail("query", format.status().message());
  if (format.value() == ResultFormat::kParquet && isatty(STDOUT_FILENO) != 0)
    return Fail("query", "Parquet is not for a terminal: send it to a file with >");
  auto asker = Open(options, "query");
  if (!asker.ok()) return Fail("query", asker.status().message());
  std::string sql = options.sql;
  if (sql == "-") sql.assign(std::istreambuf_iterator<char>(std::cin), {});
  const Status done = asker.value()->Query(sql, format.value(), options.rows_max, ToStdout);
  if (!done.ok()) return Fail("query", done.message());
  if (asker.value()->truncated())
    fmt::print(stderr, "sightline query: only the first {} rows; say --limit for more\n",
               options.rows_max);
  return std::fflush(stdout) == 0 ? 0 : Fail("query", "cannot write to standard output");
}

// The windows of a minute that end at or before `at`, and the one that holds it.
Result<std::string> TopParameters(const Options& options) {
  const Result<WindowChoice> window = WindowChoice::Parse(options.window, kMinute);
  if (!window.ok())
    return Status::Stop(
        fmt::format("--window is '{}': {}", options.window, window.status().message()));
  EventTime at{SystemClock().NowMs()};
  if (!options.at.empty() && !ParseTime(options.at, TimeUnit::kMillis, &at))
    return Status::Stop(
        fmt::format("'{}' is no time: write 2026-11-22T12:00:00Z or milliseconds", options.at));
  constexpr Millis kDay{86'400'000};
  const EventTime end = WindowStart(at - Millis{1}, kMinute) + kMinute;
  const EventTime start =
      window.value().today ? WindowStart(at - Millis{1}, kDay) : end - window.value().length;
  return fmt::format("location={}&from={}&to={}&limit={}&format={}", UrlEncoded(options.location),
                     start.v, end.v, options.limit, UrlEncoded(options.format));
}

int RunTop(const Options& options) {
  auto asker = Open(options, "top");
  if (!asker.ok()) return Fail("top", asker.status().message());
  for (;;) {
    const Result<std::string> parameters = TopParameters(options);
    if (!parameters.ok()) return Fail("top", parameters.status().message());
    if (const Status fresh = asker.value()->Refresh(); !fresh.ok())
      return Fail("top", fresh.message());
    const Result<std::string> answer = asker.value()->Get("/v1/top", parameters.value());
    if (!answer.ok()) return Fail("top", answer.status().message());
    if (options.watch && isatty(STDOUT_FILENO) != 0) fmt::print("\x1b[H\x1b[2J");
    if (!ToStdout(answer.value()).ok() || std::fflush(stdout) != 0)
      return Fail("top", "cannot write to standard output");
    if (!options.watch) return 0;
    std::this_thread::sleep_for(kWatchPause);
  }
}

int RunLedger(const Options& options) {
  auto asker = Open(options, "ledger");
  if (!asker.ok()) return Fail("ledger", asker.status().message());
  std::string parameters =
      fmt::format("group={}&format={}", UrlEncoded(options.group), UrlEncoded(options.format));
  if (options.location != "all") parameters += "&location=" + UrlEncoded(options.location);
  if (!options.from.empty()) parameters += "&from=" + UrlEncoded(options.from);
  if (!options.to.empty()) parameters += "&to=" + UrlEncoded(options.to);
  const Result<std::string> answer = asker.value()->Get("/v1/ledger", parameters);
  if (!answer.ok()) return Fail("ledger", answer.status().message());
  if (!ToStdout(answer.value()).ok() || std::fflush(stdout) != 0)
    return Fail("ledger", "cannot write to standard output");
  return 0;
}

void AddWhere(CLI::App* command, Options* options) {
  AddLakePlace(command, &options->where.place);
  command->add_option("--url", options->where.url,
                      "of a server; by default the one that owns the data folder");
  command->add_option("--format", options->format, "table, csv, json, ndjson or parquet")
      ->capture_default_str();
}

}  // namespace

void AddQueryCommands(CLI::App& app, int* result) {
  auto options = std::make_shared<Options>();
  CLI::App* query =
      app.add_subcommand("query", "Ask in SQL: what was counted, ever and this second");
  query->add_option("sql", options->sql, "one SELECT; - reads it from stdin")->required();
  query->add_option("--limit", options->rows_max, "at most so many rows")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  AddWhere(query, options.get());
  query->footer(
      "Views: item_counts, item_count_increments, ledger, locations (docs/SQL.md).\n\n"
      "Examples:\n"
      "  sightline query \"SELECT item_name, sum(item_count) FROM item_counts GROUP BY ALL\"\n"
      "  sightline query --format csv - < report.sql > report.csv");
  query->callback([options, result] { *result = RunQuery(*options); });

  CLI::App* top = app.add_subcommand("top", "The top items of a window");
  top->add_option("--location", options->location, "a location's oid, or all")
      ->capture_default_str();
  top->add_option("--window", options->window, "1m, 5m, 60m, up to 24h, or today (UTC)")
      ->capture_default_str();
  top->add_option("--at", options->at, "end of the window, RFC 3339 or Unix ms [now]");
  top->add_option("--limit", options->limit, "at most so many items")
      ->check(CLI::Range(1, 1'000))
      ->capture_default_str();
  top->add_flag("--watch", options->watch, "again every second, until Ctrl+C");
  AddWhere(top, options.get());
  top->footer(
      "Examples:\n"
      "  sightline top --location 1002 --window 60m\n"
      "  sightline top --at 2026-11-22T12:00:00Z --format json\n"
      "  sightline top --watch");
  top->callback([options, result] { *result = RunTop(*options); });

  CLI::App* ledger = app.add_subcommand("ledger", "What became of each event: why is it 37?");
  ledger->add_option("--location", options->location, "a location's oid, or all")
      ->capture_default_str();
  ledger
      ->add_option("--group", options->group, "added up by none, location, camera, hour or source")
      ->capture_default_str();
  ledger->add_option("--from", options->from, "of append time, RFC 3339 or Unix ms");
  ledger->add_option("--to", options->to, "likewise; excluded");
  AddWhere(ledger, options.get());
  ledger->footer(
      "Examples:\n"
      "  sightline ledger --group location\n"
      "  sightline ledger --location 1002 --group camera --from 2026-11-22T00:00:00Z");
  ledger->callback([options, result] { *result = RunLedger(*options); });
}

}  // namespace sightline
