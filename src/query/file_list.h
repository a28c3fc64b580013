// FileList: the Parquet files of one table at one version, indexed by day and location so that a
// query can skip files.
//
// An immutable value that is cheap to copy. Versions share the days that they have in common, so
// that a commit into a table of 365,000 files costs the days that it touches and one pointer per
// day. Safe on any thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sql/read_bounds.h"

namespace sightline {

struct LakeFile {
  // Relative to FileList::root(), as on disk (not URL-encoded). Its directories usually say the
  // partition values, "geographical_location_oid=7001/date=2026-01-05/part-0.parquet", but what
  // counts is what the log says: `location` and `day`. A file without a location has that column
  // inside; in a table with days, every file has one.
  std::string path;
  int64_t rows = 0, bytes = 0;
  std::optional<LocationId> location;  // of the partition; none: several locations
  std::optional<Day> day;              // of the partition; none: any day
  std::optional<int32_t> bucket;       // every row is of a location with this BucketOf()
  // From the file's statistics: inclusive bounds, which may be wider than the rows.
  std::optional<EventTime> window_start_min, window_start_max;
  std::optional<EventTime> append_hour_min, append_hour_max;  // of the ledger
  bool has_lost = false;  // of the ledger: the statistics name the column `lost`
  friend bool operator==(const LakeFile&, const LakeFile&) = default;
};

class FileList {
 public:
  FileList() = default;
  // `root` is the table's directory, without a trailing slash: absolute, or relative to the working
  // directory of the process that reads the files.
  FileList(std::string root, std::vector<LakeFile> files);

  // A list without `removed` (compared by path and day) and with `added`.
  // O(files of the days touched + days).
  FileList With(std::span<const LakeFile> added, std::span<const LakeFile> removed) const;

  // Every file that may hold rows within `bounds`. A pointer is valid as long as any list that
  // shares the file's day. O(days in the bounds x log(files a day) x locations + found).
  std::vector<const LakeFile*> Select(const ReadBounds& bounds) const;

  // Absolute if the root is.
  std::string AbsolutePath(const LakeFile& file) const { return root_ + "/" + file.path; }
  // Whether a reader who takes every directory `name=value` of the whole path for a value of a
  // column (DuckDB's hive_partitioning) learns exactly the location and the day of the log.
  bool PathTells(const LakeFile& file) const;
  // The file with this path, as AbsolutePath() returns it. Null: it is not in the list. O(size).
  const LakeFile* Find(std::string_view path) const;
  bool Has(std::string_view path) const { return Find(path) != nullptr; }
  const std::string& root() const { return root_; }
  size_t size() const { return size_; }

 private:
  using DayFiles = std::vector<LakeFile>;  // ordered by location (none first), then path
  // The key of files without a day; it sorts before every day.
  static constexpr Day kNoDay{INT64_MIN};

  std::string root_;
  std::map<Day, std::shared_ptr<const DayFiles>> days_;
  size_t size_ = 0;
};

}  // namespace sightline
