#include "cli/command_redrive.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "admin/redrive.h"
#include "camera/curl_client.h"
#include "config/data_folder.h"
#include "operators/decode.h"
#include "query/write_result.h"

namespace sightline {
namespace {

std::atomic<bool> stop_redrive{false};  // set by the signal handler: lock-free

struct Command {
  RedriveOptions options;
  std::string outcome = "all", from, to, format = "table";
};

int Fail(const std::string& message) {
  fmt::print(stderr, "sightline redrive: {}\n", message);
  return 1;
}

Status ReadTime(const std::string& text, AppendTime* time) {
  EventTime parsed;
  if (text.empty()) return Status::Ok();
  if (!ParseTime(text, TimeUnit::kMillis, &parsed))
    return Status::Stop(
        fmt::format("'{}' is not a time: write 2026-11-22T12:00:00Z or milliseconds", text));
  *time = {parsed.v};
  return Status::Ok();
}

int Print(std::vector<Column> columns, std::vector<Row> rows, const std::string& format) {
  ResultTable table = ResultTable::FromRows(std::move(columns), std::move(rows));
  const Status written =
      WriteResult(table, ParseResultFormat(format).value(), [](std::string_view bytes) {
        return std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size()
                   ? Status::Ok()
                   : Status::Stop("cannot write to standard output");
      });
  if (!written.ok()) return Fail(written.message());
  return std::fflush(stdout) == 0 ? 0 : Fail("cannot write to standard output");
}

int PrintGroups(const RedriveResult& result, const std::string& format) {
  std::vector<Row> rows;
  for (const auto& [key, group] : result.groups) {
    const auto& [outcome, location, camera] = key;
    rows.push_back({std::string(ToString(outcome)), location.v, camera.v, group.events,
                    group.first.v * 1'000, group.last.v * 1'000});
  }
  return Print({{"outcome", ColumnType::kText},
                {"geographical_location_oid", ColumnType::kInteger},
                {"video_camera_oid", ColumnType::kInteger},
                {"events", ColumnType::kInteger},
                {"first_received", ColumnType::kTimestamp},
                {"last_received", ColumnType::kTimestamp}},
               std::move(rows), format);
}

int PrintTotals(const RedriveResult& result, const std::string& format) {
  return Print({{"sent", ColumnType::kInteger},
                {"accepted", ColumnType::kInteger},
                {"rejected", ColumnType::kInteger},
                {"cut", ColumnType::kInteger},
                {"sent_before", ColumnType::kInteger}},
               {{result.sent, result.accepted, result.rejected, result.cut, result.before}},
               format);
}

// Returns a client of the server that gets the events, after checking that it answers. `is_owner`:
// whether that is the server whose pipeline has refused them.
Result<std::unique_ptr<HttpClient>> FindServer(RedriveOptions* options, bool* is_owner) {
  auto client = CreateCurlClient({});
  if (!client.ok()) return client;
  const std::string start = fmt::format(
      "start it with `sightline up --data {}`, or name another one with --url", options->data);
  const std::optional<ServerAddress> owner = DataFolder(options->data).ReadAddress();
  const bool asks_owner = options->url.empty() && owner;
  if (asks_owner) options->url = owner->url;
  if (options->url.empty())
    return Status::Stop(fmt::format("no server of '{}' is running: {}", options->data, start));
  while (options->url.ends_with('/')) options->url.pop_back();
  const HttpResponse alive = client.value()->Get(options->url + "/healthz");
  if (alive.status == 0)
    return Status::Stop(
        fmt::format("the server '{}' does not answer ({}): {}", options->url, alive.error, start));
  // After a crash another server may have taken the address. It must not get these events.
  *is_owner = owner && IsOf(*owner, alive.body);
  if (asks_owner && !*is_owner)
    return Status::Stop(
        fmt::format("another program has the address '{}' of the server of '{}': {}", options->url,
                    options->data, start));
  return client;
}

// A pipeline refuses what it has refused as too late again: its settings stay, and its watermarks
// only grow. Such events are taken out of what is sent to it; kStop if nothing else was asked for.
Status LeaveOutTooLate(RedriveOptions* options) {
  RedriveOptions late = *options;
  late.future = false;
  late.dry_run = true;
  RedriveResult result;
  RETURN_IF_ERROR(RunRedrive(late, {}, &result));
  options->too_late = false;
  if (result.chosen == 0) return Status::Ok();
  const std::string why = fmt::format(
      "{} events were too late for the pipeline of '{}', and would be too late again. Send them "
      "to a pipeline with a longer pipeline.dedup_horizon or pipeline.max_age, which has a data "
      "folder of its own: sightline redrive --data {} --outcome too_late --url http://HOST:PORT",
      result.chosen, options->data, options->data);
  if (!options->future) return Status::Stop(why);
  fmt::print(stderr, "sightline redrive: {}\n", why);
  return Status::Ok();
}

int Run(Command& command) {
  RedriveOptions& options = command.options;
  options.future = command.outcome != "too_late";
  options.too_late = command.outcome != "future";
  for (const auto& [text, time] :
       {std::pair{&command.from, &options.from}, std::pair{&command.to, &options.to}})
    if (const Status status = ReadTime(*text, time); !status.ok()) return Fail(status.message());
  std::unique_ptr<HttpClient> client;
  if (!options.dry_run) {
    bool is_owner = false;
    auto found = FindServer(&options, &is_owner);
    if (!found.ok()) return Fail(found.status().message());
    client = std::move(found).value();
    if (is_owner && options.too_late)
      if (const Status left = LeaveOutTooLate(&options); !left.ok()) return Fail(left.message());
  }
  std::signal(SIGTERM, [](int) { stop_redrive = true; });
  std::signal(SIGINT, [](int) { stop_redrive = true; });
  std::signal(SIGPIPE, SIG_IGN);
  const bool terminal = isatty(STDERR_FILENO) != 0;
  RedriveResult result;
  const Status status = RunRedrive(
      options,
      {.client = client.get(),
       .stop = &stop_redrive,
       .progress =
           [terminal](const RedriveResult& now) {
             if (terminal) fmt::print(stderr, "\r\x1b[K{} events sent", now.sent);
           },
       .note =
           [](const std::string& line) { fmt::print(stderr, "sightline redrive: {}\n", line); }},
      &result);
  if (terminal && !options.dry_run) fmt::print(stderr, "\r\x1b[K");
  if (result.cut > 0)
    fmt::print(stderr,
               "sightline redrive: {} events are skipped: only their first {} bytes were kept\n",
               result.cut, kDeadLetterBytesMax);
  const int printed =
      options.dry_run ? PrintGroups(result, command.format) : PrintTotals(result, command.format);
  if (!status.ok()) return Fail(status.message());
  if (result.rejected > 0)
    return Fail(fmt::format("the server rejected {} events, because it cannot decode them",
                            result.rejected));
  return printed;
}

}  // namespace

void AddRedriveCommand(CLI::App& app, int* result) {
  auto command = std::make_shared<Command>();
  RedriveOptions& options = command->options;
  CLI::App* redrive = app.add_subcommand(
      "redrive", "Send events again that were future or too_late, after a repair");
  redrive->add_option("--data", options.data, "The data folder of `sightline up`.")
      ->capture_default_str();
  redrive->add_option(
      "--url", options.url,
      "The URL of the server. The default is the server that owns the data folder.");
  redrive
      ->add_option("--outcome", command->outcome,
                   "The outcome of the events: future, too_late or all.")
      ->check(CLI::IsMember({"future", "too_late", "all"}))
      ->capture_default_str();
  redrive->add_option("--from", command->from,
                      "The start of the range of append time, RFC 3339 or Unix ms.");
  redrive->add_option("--to", command->to,
                      "The end of the range of append time, RFC 3339 or Unix ms; excluded.");
  redrive->add_flag("--dry-run", options.dry_run, "Print what would be sent, and send nothing.");
  redrive->add_flag("--again", options.again,
                    "Include events that an earlier redrive has already sent.");
  redrive
      ->add_option("--format", command->format,
                   "The format of the output: table, json, csv or excel-csv.")
      ->check(CLI::IsMember({"table", "json", "csv", "excel-csv"}))
      ->capture_default_str();
  redrive->footer(
      "Examples:\n"
      "  sightline redrive --dry-run                       by outcome, location and camera\n"
      "  sightline redrive --outcome future --from 2026-11-22T10:00:00Z --to 2026-11-22T11:00:00Z\n"
      "  sightline redrive --data /srv/sightline --outcome too_late --url http://127.0.0.1:8090\n\n"
      "First repair the cause, then send. Events of the future can go to the same server once "
      "their\n"
      "time has come. Events that were too late would be too late there again: send them to a\n"
      "pipeline with a longer pipeline.dedup_horizon, with --url. The file redrive.json in the "
      "data\n"
      "folder remembers what was sent. Malformed events are never sent.");
  redrive->callback([command, result] { *result = Run(*command); });
}

}  // namespace sightline
