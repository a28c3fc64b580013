// The SQL of the views that queries read. Pure functions.
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

// A part of a view: the files whose paths are in the DuckDB variable `variable`, or, if that is
// empty, the rows of the table function call `from`.
struct ViewPart {
  std::string variable, from;
  // Which columns are not in the files, because they are the values of the files' partitions.
  bool has_location = false, has_date = false;
  // Those values are the elements of the variables LocationsOf(variable) and DatesOf(variable), in
  // the order of the files. False: the paths have them, as geographical_location_oid=.../date=...,
  // and nothing else that DuckDB could take for a value.
  bool is_apart = false;
  // Of the ledger: the files may lack the column `lost`, which is null then.
  bool may_lack_lost = false;
};

std::string LocationsOf(std::string_view variable);
std::string DatesOf(std::string_view variable);

// Each returns a SELECT statement. `locations` is the FROM item that has the current names.
std::string IncrementsSql(const std::vector<ViewPart>& parts, const Scope& scope);
std::string LedgerSql(const std::vector<ViewPart>& parts, const Scope& scope);
std::string ItemCountsSql(std::string_view increments, std::string_view locations);

}  // namespace sightline
