#include "connectors/lake/writable.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "connectors/lake/commit_json.h"
#include "connectors/lake/tables.h"

namespace sightline::lake {
namespace {

constexpr int64_t kTrustedMaxMs = 10 * 60'000;
constexpr int64_t kLogRetentionMs = 30 * 86'400'000LL;  // Delta's default

Status CheckProtocol(std::string_view table, const Protocol& protocol) {
  if (protocol.writer <= 2) return CheckReadable(protocol, table);
  return Status::Stop(
      fmt::format("table '{}' requires Delta writer version {}, and this program implements "
                  "version 2: another engine has enabled a table feature; drop it there (ALTER "
                  "TABLE ... DROP FEATURE) or write a new table",
                  table, protocol.writer));
}

Status CheckProperties(std::string_view table, const Snapshot& snapshot) {
  constexpr char kForgets[] = "delta.setTransactionRetentionDuration";
  if (!snapshot.Property(kForgets).empty())
    return Status::Stop(fmt::format(
        "table '{}' has the property {}: checkpoints would forget up to which offsets it has "
        "counted, and everything would be counted twice; remove it (ALTER TABLE ... UNSET "
        "TBLPROPERTIES ('{}'))",
        table, kForgets, kForgets));
  const std::string moved_to = snapshot.Property(kMovedToProperty);
  if (!moved_to.empty())
    return Status::Stop(fmt::format(
        "table '{}' was moved to '{}' by `sightline lake copy`, and is written there only: set "
        "lake.dir to that place",
        table, moved_to));
  return Status::Ok();
}

// The first fence for a source sets its property and a txn in one commit, and nothing of ours ever
// removes either.
Status CheckOffsets(std::string_view table, const Snapshot& snapshot) {
  const std::string sources(kEnginePrefix);
  for (auto at = snapshot.metadata->configuration.lower_bound(sources);
       at != snapshot.metadata->configuration.end() && at->first.starts_with(sources); ++at) {
    const std::string prefix =
        fmt::format("sightline/{}/{}/", table, at->first.substr(sources.size()));
    const auto txn = snapshot.txns.lower_bound(prefix);
    if (txn != snapshot.txns.end() && txn->first.starts_with(prefix)) continue;
    return Status::Stop(fmt::format(
        "table '{}' has lost up to which offsets it has counted the source '{}': another engine's "
        "checkpoint has left them out; bring the table back to a version that has them "
        "(`sightline lake describe --version`), otherwise everything would be counted twice",
        table, at->first.substr(sources.size())));
  }
  return Status::Ok();
}

Status CheckForeign(std::string_view table, const Snapshot& snapshot) {
  // The table of locations is written anew from the location table, whatever is in it.
  if (table == kLocationsTable) return Status::Ok();
  const std::string text = snapshot.Property(kAcceptedProperty);
  Version accepted = kNoVersion;
  std::from_chars(text.data(), text.data() + text.size(), accepted.v);
  const ForeignChange* first = nullptr;
  Version last = kNoVersion;
  int64_t files = 0, offsets = 0;
  for (const auto& [what, change] : snapshot.foreign) {
    if (change.version <= accepted) continue;
    if (first == nullptr || change.version < first->version) first = &change;
    last = std::max(last, change.version);
    // Paths of files are relative, and none begins like an application id of ours.
    ++(ParseOffsetTxn(table, what) || what.ends_with("/owner") ? offsets : files);
  }
  if (first == nullptr) return Status::Ok();
  const std::string did =
      offsets == 0 ? fmt::format("removed {} files with rows that Sightline counted", files)
      : files == 0 ? fmt::format("set back {} offsets of Sightline", offsets)
                   : fmt::format(
                         "removed {} files with rows that Sightline counted, and set back "
                         "{} offsets",
                         files, offsets);
  return Status::Stop(fmt::format(
      "another program ('{}') has changed table '{}' from version {} on ({}): it has {}, so the "
      "table no longer equals the ledger. Nothing is written until a person decides: bring it back "
      "in that program (RESTORE TABLE ... TO VERSION AS OF {}), which ends this by itself; or, if "
      "it was meant so, set the table property '{}' to '{}' there. `sightline lake history` and "
      "`sightline lake verify` show what is missing",
      first->engine.empty() ? "unknown" : first->engine, table, first->version.v,
      first->operation.empty() ? "an operation without a name" : first->operation, did,
      first->version.v - 1, kAcceptedProperty, last.v));
}

struct Unit {
  std::string_view name;
  int64_t ms_numerator, denominator;
};
constexpr Unit kUnits[] = {{"nanosecond", 1, 1'000'000}, {"microsecond", 1, 1'000},
                           {"millisecond", 1, 1},        {"second", 1'000, 1},
                           {"minute", 60'000, 1},        {"hour", 3'600'000, 1},
                           {"day", 86'400'000, 1},       {"week", 7 * 86'400'000LL, 1}};
constexpr int64_t kNumberMax = 1'000'000;  // of one unit; more would be thousands of years

std::string_view NextWord(std::string_view& text) {
  const size_t start = std::min(text.find_first_not_of(' '), text.size());
  const size_t end = std::min(text.find(' ', start), text.size());
  const std::string_view word = text.substr(start, end - start);
  text.remove_prefix(end);
  return word;
}

}  // namespace

Status CheckWritable(std::string_view table, const Snapshot& snapshot) {
  RETURN_IF_ERROR(CheckProtocol(table, snapshot.protocol));
  RETURN_IF_ERROR(CheckProperties(table, snapshot));
  RETURN_IF_ERROR(CheckOffsets(table, snapshot));
  return CheckForeign(table, snapshot);
}

std::optional<int64_t> ParseInterval(std::string_view text) {
  int64_t total_ms = 0;
  std::string_view word = NextWord(text);
  if (word == "interval" || word == "INTERVAL") word = NextWord(text);
  if (word.empty()) return std::nullopt;
  for (; !word.empty(); word = NextWord(text)) {
    int64_t number = 0;
    const char* end = word.data() + word.size();
    const auto [stopped, error] = std::from_chars(word.data(), end, number);
    if (error != std::errc() || stopped != end || number < 0 || number > kNumberMax)
      return std::nullopt;
    std::string_view name = NextWord(text);
    if (name.ends_with('s')) name.remove_suffix(1);
    const auto* const unit = std::ranges::find(kUnits, name, &Unit::name);
    if (unit == std::end(kUnits)) return std::nullopt;
    total_ms += number * unit->ms_numerator / unit->denominator;
  }
  return total_ms;
}

int64_t TrustedMs(const Snapshot& snapshot) {
  const std::string text = snapshot.Property("delta.logRetentionDuration");
  const int64_t retention_ms = text.empty() ? kLogRetentionMs : ParseInterval(text).value_or(0);
  return std::min(kTrustedMaxMs, retention_ms / 2);
}

}  // namespace sightline::lake
