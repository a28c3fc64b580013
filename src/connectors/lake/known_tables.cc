#include "connectors/lake/known_tables.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <filesystem>
#include <optional>
#include <utility>

#include "connectors/lake/json_text.h"
#include "connectors/lake/writable.h"
#include "connectors/storage/local_storage.h"

namespace sightline::lake {
namespace {

namespace fs = std::filesystem;

// The storage of the file's folder, and the file's name in it.
struct Place {
  explicit Place(const std::string& path)
      : storage(fs::absolute(path).parent_path()), name(fs::path(path).filename()) {}
  LocalStorage storage;
  std::string name;
};

}  // namespace

Result<std::unique_ptr<KnownTables>> KnownTables::Open(KnownTablesOptions options) {
  Place place(options.path);
  const Result<std::optional<std::string>> text = place.storage.ReadWhole(place.name);
  if (!text.ok()) return text.status();
  std::map<std::string, std::string, std::less<>> ids;
  if (text.value()) {
    simdjson::dom::parser parser;
    simdjson::dom::object tables;
    bool good = !parser.parse(*text.value()).get(tables);
    if (good) {
      for (const auto [table, id] : tables) {
        std::string_view value;
        good = good && !id.get(value);
        ids.emplace(table, value);
      }
    }
    if (!good)
      return Status::Stop(fmt::format(
          "'{}', which names the tables of the lake, is damaged; check that the lake in '{}' is "
          "the right one, and remove the file: it is then written anew",
          options.path, options.lake));
  }
  return std::unique_ptr<KnownTables>(new KnownTables(std::move(options), std::move(ids)));
}

Result<bool> KnownTables::Forget(const std::string& path) {
  Place place(path);
  const Result<std::optional<FileInfo>> file = place.storage.Stat(place.name);
  if (!file.ok()) return file.status();
  if (!file.value()) return false;
  RETURN_IF_ERROR(place.storage.Put(place.name, "{}\n", PutMode::kReplace).status());
  return true;
}

Status KnownTables::Check(std::string_view table, const Snapshot& snapshot) const {
  const std::lock_guard lock(mutex_);
  const auto known = ids_.find(table);
  if (known == ids_.end() || known->second == snapshot.metadata->id) return Status::Ok();
  if (known->second == snapshot.Property(kMovedFromProperty)) return Status::Ok();
  const std::string found = snapshot.version == kNoVersion
                                ? "has no such table"
                                : fmt::format("has another one, {}", snapshot.metadata->id);
  return Status::Stop(fmt::format(
      "this pipeline writes the table '{}' with the id {}, and the lake in '{}' {}: mount its file "
      "system, or restore the lake; or, to begin a new lake, {}",
      table, known->second, options_.lake, found, options_.renew));
}

Status KnownTables::Add(std::string_view table, const Snapshot& snapshot) {
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::string, std::less<>> ids = ids_;
  ids[std::string(table)] = snapshot.metadata->id;
  if (ids == ids_) return Status::Ok();
  std::string text;
  for (const auto& [name, id] : ids)
    text += fmt::format("{}{}:{}", text.empty() ? "{" : ",\n ", Quoted(name), Quoted(id));
  Place place(options_.path);
  RETURN_IF_ERROR(place.storage.Put(place.name, text + "}\n", PutMode::kReplace).status());
  ids_ = std::move(ids);
  return Status::Ok();
}

}  // namespace sightline::lake
