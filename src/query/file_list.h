// FileList: the Parquet files of one table at one version, indexed for skipping by location and
// day.
//
// A value that is cheap to copy and never changes: versions share the days that they have in
// common, so that a commit into a table of 365,000 files costs the days it touches and one pointer
// a day.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "query/read_bounds.h"

namespace sightline {

struct LakeFile {
  // Below FileList::root(), no leading slash, as on disk (not URL-encoded). Partition values are
  // read from its directories: "geographical_location_oid=7001/date=2026-01-05/part-0.parquet". A
  // file without the first has the column inside; every file of a table that has days says "date=".
  std::string path;
  int64_t rows = 0, bytes = 0;
  std::optional<LocationId> location;  // the partition's; none: several
  std::optional<Day> day;              // the partition's; none: any
  std::optional<int32_t> bucket;       // of location, above max_partitions
  std::optional<EventTime> window_start_min,
      window_start_max;                                       // both included; stats, may be wider
  std::optional<EventTime> append_hour_min, append_hour_max;  // likewise, of the ledger
  bool has_lost = false;  // of the ledger: by its statistics it has the column `lost`
  friend bool operator==(const LakeFile&, const LakeFile&) = default;
};

class FileList {
 public:
  FileList() = default;
  // `root` is the table's directory: absolute, without a slash at its end.
  FileList(std::string root, std::vector<LakeFile> files);

  // This list without `removed` (by path, location and day) and with `added`.
  // O(files of the days touched + days).
  FileList With(std::span<const LakeFile> added, std::span<const LakeFile> removed) const;

  // Every file that may hold rows inside `bounds`. Pointers live as long as any list that shares
  // the day. O(days in the bounds x log(files a day) x locations + found).
  std::vector<const LakeFile*> Select(const ReadBounds& bounds) const;

  std::string AbsolutePath(const LakeFile& file) const { return root_ + "/" + file.path; }
  const std::string& root() const { return root_; }
  size_t size() const { return size_; }

 private:
  using DayFiles = std::vector<LakeFile>;  // by location (none first), then path
  // Files without a day are under kNoDay, before every day.
  static constexpr Day kNoDay{INT64_MIN};

  std::string root_;
  std::map<Day, std::shared_ptr<const DayFiles>> days_;
  size_t size_ = 0;
};

}  // namespace sightline
