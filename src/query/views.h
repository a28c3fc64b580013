// The SQL of the views that queries read.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model/scope.h"
#include "query/lake_source.h"

namespace sightline {

constexpr std::string_view kItemCounts = "item_counts";
constexpr std::string_view kIncrements = "item_count_increments";
constexpr std::string_view kLedger = "ledger";
constexpr std::string_view kLocations = "locations";
std::set<std::string> ViewNames();

// A part of a view: files whose paths are in the DuckDB variable `variable`, or, where it is empty,
// what `from` calls.
struct ViewPart {
  std::string variable, from;
  bool location_in_path = false;  // hive directories: geographical_location_oid=.../date=...
  bool date_in_path = false;
  // Of the ledger: some of the files may have no column `lost`, and then it is null.
  bool may_lack_lost = false;
};

// SELECT statements. `locations` is what stands in FROM for the current names.
std::string IncrementsSql(const std::vector<ViewPart>& parts, const Scope& scope);
std::string LedgerSql(const std::vector<ViewPart>& parts, const Scope& scope);
std::string ItemCountsSql(std::string_view increments, std::string_view locations);

}  // namespace sightline
