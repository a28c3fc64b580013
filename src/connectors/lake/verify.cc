#include "connectors/lake/verify.h"

#include <optional>
#include <utility>

#include "connectors/lake/tables.h"
#include "connectors/lake/verify_files.h"
#include "connectors/lake/verify_sums.h"

namespace sightline::lake {

Result<VerifyReport> Verify(Storage& storage, const VerifyProgress& progress) {
  VerifyReport report;
  std::optional<TableCheck> increments, ledger;
  for (const std::string_view table : {kIncrementsTable, kLedgerTable, kLocationsTable}) {
    CheckLog(storage, table, report);
    Result<std::optional<TableCheck>> checked = CheckTable(storage, table, progress, report);
    if (!checked.ok()) return checked.status();
    if (!checked.value().has_value()) continue;
    report.tables.push_back(checked.value()->table);
    if (table == kIncrementsTable) {
      increments = std::move(checked).value();
    } else if (table == kLedgerTable) {
      ledger = std::move(checked).value();
    }
  }
  for (const auto* check : {&increments, &ledger})
    if (check->has_value() && (*check)->table.complete)
      CheckRanges((*check)->table.name, *(*check)->snapshot, (*check)->sums, report.findings);
  if (increments.has_value() && ledger.has_value() && increments->table.complete &&
      ledger->table.complete)
    CompareSums(*increments->snapshot, increments->sums, *ledger->snapshot, ledger->sums, report);
  return report;
}

}  // namespace sightline::lake
