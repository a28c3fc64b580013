#include "query/query_engine.h"

#include <fmt/format.h>

#include "base/log.h"
#include "query/duck_memory.h"
#include "query/parsed_sql.h"
#include "query/session.h"

namespace sightline {

// The order matters: lock_configuration comes last, because nobody, not even we, can change a
// setting after it.
Result<std::unique_ptr<QueryEngine>> QueryEngine::Create(std::shared_ptr<LakeSource> source,
                                                         const QueryEngineOptions& options) {
  auto core = std::make_shared<Core>();
  core->source = std::move(source);
  core->queries_max = options.queries_max;
  core->window_size = options.window_size;
  core->prune = options.prune;
  core->memory_bytes_max = options.memory_bytes_max;
  if (!duck::BoundMemory(options.memory_bytes_max + kUncountedBytesMax))
    LogWarning(
        "this libduckdb.so does not use jemalloc, so query.memory_max does not bound the strings "
        "that queries make");
  core->watchdog.SetGrowthMax(kUncountedBytesMax);
  // No temporary directory: a query that needs more memory fails, it does not fill the disk. No
  // extensions: they would be code from the network.
  Result<duck::Database> database =
      duck::Open({{"memory_limit", fmt::format("{}B", options.memory_bytes_max)},
                  {"threads", fmt::format("{}", options.threads)},
                  {"temp_directory", ""},
                  {"max_temp_directory_size", "0KB"},
                  {"autoinstall_known_extensions", "false"},
                  {"autoload_known_extensions", "false"},
                  {"allow_community_extensions", "false"},
                  {"allow_unsigned_extensions", "false"}});
  if (!database.ok()) return database.status();
  core->database = std::move(database).value();
  Result<duck::Connection> connection = duck::Connect(core->database);
  if (!connection.ok()) return connection.status();
  RETURN_IF_ERROR(core->scans.Register(connection.value()));
  Result<SqlGuard> guard = GuardFor(connection.value(), ViewNames());
  if (!guard.ok()) return guard.status();
  core->guard = std::move(guard).value();

  std::string directories;
  for (const std::string& directory : options.directories) {
    directories += (directories.empty() ? "" : ", ") + duck::Quoted(directory + "/");
  }
  for (const std::string& setting :
       {std::string("TimeZone = 'UTC'"), fmt::format("allowed_directories = [{}]", directories),
        std::string("enable_external_access = false"), std::string("lock_configuration = true")}) {
    RETURN_IF_ERROR(duck::Execute(connection.value(), "SET GLOBAL " + setting));
  }
  return std::unique_ptr<QueryEngine>(new QueryEngine(std::move(core)));
}

QueryEngine::~QueryEngine() = default;

void QueryEngine::Interrupt() {
  {
    const std::lock_guard lock(core_->mutex);
    core_->ending = true;
  }
  // First those that wait for a slot, then those that run.
  core_->slot_free.notify_all();
  core_->watchdog.StopAll();
}

std::string QueryEngine::trouble() const { return core_->unreadable.Trouble(*core_->source); }

std::map<std::string, std::string> QueryEngine::TakeUnreadableFiles() {
  return core_->unreadable.Take();
}

std::string QueryEngine::WhyUnreadable(const std::string& path) const {
  return sightline::WhyUnreadable(path, core_->database);
}

int64_t QueryEngine::files_selected() const { return core_->files_selected.load(); }

Result<ResultTable> QueryEngine::Run(std::string_view sql, const Scope& scope,
                                     const QueryLimits& limits) {
  Result<std::unique_ptr<Session>> begun = Session::Begin(core_, scope, limits);
  if (!begun.ok()) return begun.status();
  std::unique_ptr<Session> session = std::move(begun).value();
  Result<CheckedSql> checked = session->Check(sql);
  if (!checked.ok()) return session->Explain(checked.status());
  // Only the views that the statement reads exist, each over the files that it may need.
  ViewBounds views = std::move(checked.value().tables);
  if (!core_->prune)
    for (auto& [view, bounds] : views) bounds = ReadBounds();
  RETURN_IF_ERROR(session->AddViews(views));
  return Session::Answer(std::move(session), std::string(sql));
}

}  // namespace sightline
