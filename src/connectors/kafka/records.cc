#include "connectors/kafka/records.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <utility>

namespace sightline::kafka {
namespace {

namespace json = boost::json;

constexpr int64_t kSchemaVersion = 1;

std::string Quoted(std::string_view text) { return json::serialize(json::string_view(text)); }

std::string_view KindName(CountKind kind) {
  return kind == CountKind::kCorrection ? "correction" : "count";
}

json::object LedgerJson(const Ledger& ledger) {
  json::object object{{"received", ledger.received}};
  for (size_t i = 0; i < kOutcomes; ++i)
    object[ToString(static_cast<Outcome>(i))] = ledger.outcomes[i];
  object["conflicts"] = ledger.conflicts;
  object["heartbeats"] = ledger.heartbeats;
  return object;
}

// kBeforeAllTime: nothing was heard yet.
json::value TimeOrNull(EventTime time) {
  return time == kBeforeAllTime ? json::value(nullptr) : json::value(time.v);
}

// Integers of an object; ok() is false once one was not there.
class Integers {
 public:
  explicit Integers(const json::object& object) : object_(object) {}
  int64_t Get(std::string_view name) {
    const json::value* const value = object_.if_contains(name);
    if (value == nullptr || !value->is_int64()) {
      ok_ = false;
      return 0;
    }
    return value->get_int64();
  }
  EventTime GetTimeOrNull(std::string_view name) {
    const json::value* const value = object_.if_contains(name);
    return value != nullptr && value->is_null() ? kBeforeAllTime : EventTime{Get(name)};
  }
  bool ok() const { return ok_; }

 private:
  const json::object& object_;
  bool ok_ = true;
};

}  // namespace

std::string CountKeyJson(const SourcePartition& from, Offset first, const CountKey& key,
                         Millis pane_size) {
  return fmt::format(
      R"({{"source":{},"source_partition":{},"first_offset":{},"window_start":{},"window_end":{},)"
      R"("geographical_location_oid":{},"item_name":{},"kind":"{}"}})",
      Quoted(from.source), from.partition, first.v, key.pane_start.v,
      (key.pane_start + pane_size).v, key.location.v, Quoted(key.item), KindName(key.kind));
}

std::string CountValueJson(const Provenance& provenance, Offset first, Offset next,
                           const CountRow& row, Millis pane_size, const LocationName* location) {
  std::string text = fmt::format(
      R"({{"schema_version":{},"spec_id":"{}","geographical_location_oid":{},"item_name":{},)"
      R"("window_start":{},"window_end":{},"item_count":{},"first_detected":{},"last_detected":{},)"
      R"("kind":"{}","source":{},"source_partition":{},"first_offset":{},"next_offset":{})",
      kSchemaVersion, provenance.spec_id, row.key.location.v, Quoted(row.key.item),
      row.key.pane_start.v, (row.key.pane_start + pane_size).v, row.count, row.first_detected.v,
      row.last_detected.v, KindName(row.key.kind), Quoted(provenance.from.source),
      provenance.from.partition, first.v, next.v);
  if (location != nullptr)
    text +=
        fmt::format(R"(,"geographical_location":{},"locations_version":{})",
                    location->name.empty() ? "null" : Quoted(location->name), location->version);
  return text + "}";
}

std::string ProgressKeyJson(const SourcePartition& from) {
  return fmt::format(R"({{"source":{},"source_partition":{}}})", Quoted(from.source),
                     from.partition);
}

std::string ProgressValueJson(const Provenance& provenance, const Progress& progress) {
  return json::serialize(json::object{{"schema_version", kSchemaVersion},
                                      {"spec_id", provenance.spec_id},
                                      {"source", provenance.from.source},
                                      {"source_partition", provenance.from.partition},
                                      {"next_offset", progress.next.v},
                                      {"watermark", TimeOrNull(progress.watermark)},
                                      {"ledger", LedgerJson(progress.ledger)}});
}

namespace {

Result<json::object> ParseValue(std::string_view value) {
  boost::system::error_code error;
  json::value parsed = json::parse(value, error);
  if (error || !parsed.is_object()) return Status::Stop("a record that is no JSON object");
  json::object object = std::move(parsed.get_object());
  if (const int64_t version = Integers(object).Get("schema_version"); version != kSchemaVersion)
    return Status::Stop(fmt::format("a record of schema version {}; this program knows {}", version,
                                    kSchemaVersion));
  return object;
}

Result<Progress> ProgressOf(const json::object& object) {
  Integers fields(object);
  Progress progress{.next = {fields.Get("next_offset")},
                    .watermark = fields.GetTimeOrNull("watermark"),
                    .ledger = {}};
  const json::value* const ledger = object.if_contains("ledger");
  if (!fields.ok() || ledger == nullptr || !ledger->is_object())
    return Status::Stop("a progress record without its fields");
  Integers numbers(ledger->get_object());
  progress.ledger.received = numbers.Get("received");
  for (size_t i = 0; i < kOutcomes; ++i)
    progress.ledger.outcomes[i] = numbers.Get(ToString(static_cast<Outcome>(i)));
  progress.ledger.conflicts = numbers.Get("conflicts");
  progress.ledger.heartbeats = numbers.Get("heartbeats");
  if (!numbers.ok() || !progress.ledger.Balanced())
    return Status::Stop("a progress record whose ledger is not one");
  return progress;
}

}  // namespace

Result<Progress> ParseProgress(std::string_view value) {
  const Result<json::object> object = ParseValue(value);
  if (!object.ok()) return object.status();
  return ProgressOf(object.value());
}

Result<CountsRecord> ParseCountsRecord(std::string_view value) {
  const Result<json::object> parsed = ParseValue(value);
  if (!parsed.ok()) return parsed.status();
  const json::object& object = parsed.value();
  const auto text = [&object](std::string_view name) -> const json::string* {
    const json::value* const found = object.if_contains(name);
    return found == nullptr ? nullptr : found->if_string();
  };
  Integers fields(object);
  CountsRecord record;
  const json::string* const source = text("source");
  record.from.partition = static_cast<int32_t>(fields.Get("source_partition"));
  record.next = {fields.Get("next_offset")};
  if (source == nullptr || !fields.ok())
    return Status::Stop("a record that does not say whose it is");
  record.from.source = *source;
  if (object.contains("ledger")) {
    Result<Progress> progress = ProgressOf(object);
    if (!progress.ok()) return progress.status();
    record.progress = std::move(progress).value();
    return record;
  }
  const json::string* const item = text("item_name");
  const json::string* const kind = text("kind");
  record.first = {fields.Get("first_offset")};
  CountRow row{.key = {.pane_start = {fields.Get("window_start")},
                       .location = {fields.Get("geographical_location_oid")},
                       .item = {}},
               .count = fields.Get("item_count"),
               .first_detected = {fields.Get("first_detected")},
               .last_detected = {fields.Get("last_detected")}};
  if (item == nullptr || kind == nullptr || !fields.ok())
    return Status::Stop("a count without its fields");
  row.key.item = *item;
  row.key.kind =
      *kind == KindName(CountKind::kCorrection) ? CountKind::kCorrection : CountKind::kCount;
  record.total = std::move(row);
  return record;
}

Message SetAsideMessage(const std::string& topic, const SourcePartition& from,
                        const SetAside& event) {
  Message message{
      .topic = topic,
      .key = fmt::format(R"({{"source":{},"source_partition":{},"offset":{},"index":{}}})",
                         Quoted(from.source), from.partition, event.offset.v, event.index),
      .value = event.bytes,
      .headers = {{"sightline.schema_version", fmt::format("{}", kSchemaVersion)},
                  {"sightline.outcome", std::string(ToString(event.outcome))}}};
  if (event.outcome == Outcome::kMalformed)
    message.headers.emplace_back("sightline.reason", std::string(ToString(event.reason)));
  if (event.append_time != kNoAppendTime)
    message.headers.emplace_back("sightline.append_time", fmt::format("{}", event.append_time.v));
  return message;
}

}  // namespace sightline::kafka
