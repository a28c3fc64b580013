#include "connectors/kafka/records.h"

#include <fmt/format.h>

#include <array>
#include <boost/json.hpp>
#include <utility>

namespace sightline::kafka {
namespace {

namespace json = boost::json;

constexpr int64_t kSchemaVersion = 1;
constexpr std::string_view kLedgerKind = "ledger";

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
  object["lost"] = ledger.lost;
  return object;
}

// Null stands for kBeforeAllTime: no event has set a watermark yet.
json::value TimeOrNull(EventTime time) {
  return time == kBeforeAllTime ? json::value(nullptr) : json::value(time.v);
}

json::value OrNull(bool known, int64_t value) {
  return known ? json::value(value) : json::value(nullptr);
}

// Reads integers of an object. ok() is false once one was missing or of another type.
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
  int64_t GetOr(std::string_view name, int64_t when_null) {
    const json::value* const value = object_.if_contains(name);
    return value != nullptr && value->is_null() ? when_null : Get(name);
  }
  // 0 if it is missing, as in records of programs that did not know the field.
  int64_t GetIfThere(std::string_view name) { return object_.contains(name) ? Get(name) : 0; }
  EventTime GetTimeOrNull(std::string_view name) { return {GetOr(name, kBeforeAllTime.v)}; }
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

// A camera's row has its location, too. The row of undecodable elements has neither.
std::string LedgerKeyJson(const SourcePartition& from, Offset first, const LedgerKey& key) {
  return json::serialize(
      json::object{{"source", from.source},
                   {"source_partition", from.partition},
                   {"first_offset", first.v},
                   {"append_hour", OrNull(key.hour != kNoAppendTime, key.hour.v)},
                   {"geographical_location_oid", OrNull(key.known, key.location.v)},
                   {"video_camera_oid", OrNull(key.known, key.camera.v)},
                   {"kind", kLedgerKind}});
}

std::string LedgerValueJson(const Provenance& provenance, Offset first, Offset next,
                            const LedgerRow& row) {
  json::object object{{"schema_version", kSchemaVersion},
                      {"spec_id", provenance.spec_id},
                      {"append_hour", OrNull(row.key.hour != kNoAppendTime, row.key.hour.v)},
                      {"geographical_location_oid", OrNull(row.key.known, row.key.location.v)},
                      {"video_camera_oid", OrNull(row.key.known, row.key.camera.v)},
                      {"kind", kLedgerKind},
                      {"source", provenance.from.source},
                      {"source_partition", provenance.from.partition},
                      {"first_offset", first.v},
                      {"next_offset", next.v}};
  for (auto& [name, value] : LedgerJson(row.ledger)) object[name] = value;
  return json::serialize(object);
}

std::string ProgressKeyJson(const SourcePartition& from) {
  return fmt::format(R"({{"source":{},"source_partition":{}}})", Quoted(from.source),
                     from.partition);
}

bool IsOfPartition(std::string_view key, std::string_view progress_key) {
  progress_key.remove_suffix(1);  // the brace
  return key.starts_with(progress_key) && key.size() > progress_key.size() &&
         (key[progress_key.size()] == ',' || key[progress_key.size()] == '}');
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

// Memory for one parsed record. Most records fit into the array; larger ones go beyond it.
class Memory {
 public:
  json::storage_ptr pointer() { return &resource_; }

 private:
  std::array<unsigned char, 8'192> first_;
  json::monotonic_resource resource_{first_.data(), first_.size()};
};

// Parses an object, whose parts lie in `memory`.
Result<json::object> ParseValue(std::string_view value, Memory& memory) {
  boost::system::error_code error;
  json::value parsed = json::parse(value, error, memory.pointer());
  if (error || !parsed.is_object()) return Status::Stop("the record is not a JSON object");
  json::object object = std::move(parsed.get_object());
  if (const int64_t version = Integers(object).Get("schema_version"); version != kSchemaVersion)
    return Status::Stop(
        fmt::format("the record has schema version {}, and this program reads version {}", version,
                    kSchemaVersion));
  return object;
}

Result<Ledger> LedgerOf(const json::object& object) {
  Integers numbers(object);
  Ledger ledger{.received = numbers.Get("received")};
  for (size_t i = 0; i < kOutcomes; ++i)
    ledger.outcomes[i] = numbers.Get(ToString(static_cast<Outcome>(i)));
  ledger.conflicts = numbers.Get("conflicts");
  ledger.heartbeats = numbers.Get("heartbeats");
  // Earlier writers did not know lost offsets.
  ledger.lost = numbers.GetIfThere("lost");
  if (!numbers.ok() || !ledger.Balanced())
    return Status::Stop("the record's ledger cannot be read or does not balance");
  return ledger;
}

Result<Progress> ProgressOf(const json::object& object) {
  Integers fields(object);
  Progress progress{.next = {fields.Get("next_offset")},
                    .watermark = fields.GetTimeOrNull("watermark"),
                    .ledger = {}};
  const json::value* const ledger = object.if_contains("ledger");
  if (!fields.ok() || ledger == nullptr || !ledger->is_object())
    return Status::Stop("the progress record lacks a field");
  const Result<Ledger> read = LedgerOf(ledger->get_object());
  if (!read.ok()) return read.status();
  progress.ledger = read.value();
  return progress;
}

std::optional<std::string> TextOf(const json::object& object, std::string_view name) {
  const json::value* const found = object.if_contains(name);
  if (found == nullptr || !found->is_string()) return std::nullopt;
  return std::string(found->get_string());
}

Result<LedgerRow> LedgerRowOf(const json::object& object) {
  Integers fields(object);
  LedgerRow row;
  const json::value* const camera = object.if_contains("video_camera_oid");
  row.key.known = camera != nullptr && !camera->is_null();
  if (row.key.known) {
    row.key.location = {fields.Get("geographical_location_oid")};
    row.key.camera = {fields.Get("video_camera_oid")};
  }
  row.key.hour = {fields.GetOr("append_hour", kNoAppendTime.v)};
  if (!fields.ok()) return Status::Stop("the ledger record lacks a field");
  const Result<Ledger> ledger = LedgerOf(object);
  if (!ledger.ok()) return ledger.status();
  row.ledger = ledger.value();
  return row;
}

// Reads the fields that only the record of a cell has.
Status ReadTotal(const json::object& object, CountsRecord& record) {
  Integers fields(object);
  std::optional<std::string> item = TextOf(object, "item_name");
  const std::optional<std::string> kind = TextOf(object, "kind");
  CountRow row{.key = {.pane_start = {fields.Get("window_start")},
                       .location = {fields.Get("geographical_location_oid")},
                       .item = {}},
               .count = fields.Get("item_count"),
               .first_detected = {fields.Get("first_detected")},
               .last_detected = {fields.Get("last_detected")}};
  const int64_t end = fields.Get("window_end");
  if (!item || !kind || !fields.ok()) return Status::Stop("a count without its fields");
  row.key.item = *std::move(item);
  row.key.kind =
      *kind == KindName(CountKind::kCorrection) ? CountKind::kCorrection : CountKind::kCount;
  record.pane_size = {end - row.key.pane_start.v};
  if (object.contains("geographical_location"))
    record.location = {.name = TextOf(object, "geographical_location").value_or(""),
                       .version = Integers(object).Get("locations_version")};
  record.total = std::move(row);
  return Status::Ok();
}

}  // namespace

Result<Progress> ParseProgress(std::string_view value) {
  Memory memory;
  const Result<json::object> object = ParseValue(value, memory);
  if (!object.ok()) return object.status();
  return ProgressOf(object.value());
}

Result<CountsRecord> ParseCountsRecord(std::string_view value) {
  Memory memory;
  const Result<json::object> parsed = ParseValue(value, memory);
  if (!parsed.ok()) return parsed.status();
  const json::object& object = parsed.value();
  Integers fields(object);
  CountsRecord record;
  std::optional<std::string> source = TextOf(object, "source");
  record.from.partition = static_cast<int32_t>(fields.Get("source_partition"));
  record.next = {fields.Get("next_offset")};
  if (!source || !fields.ok())
    return Status::Stop("the record does not name its source, partition and next_offset");
  record.from.source = *std::move(source);
  record.spec_id = TextOf(object, "spec_id").value_or("");
  // Only a progress record has a ledger object; of the others, `kind` tells which they are.
  if (object.contains("ledger")) {
    Result<Progress> progress = ProgressOf(object);
    if (!progress.ok()) return progress.status();
    record.progress = std::move(progress).value();
    return record;
  }
  record.first = {fields.Get("first_offset")};
  if (!fields.ok()) return Status::Stop("a count without its fields");
  if (TextOf(object, "kind") == kLedgerKind) {
    Result<LedgerRow> row = LedgerRowOf(object);
    if (!row.ok()) return row.status();
    record.ledger = std::move(row).value();
    return record;
  }
  RETURN_IF_ERROR(ReadTotal(object, record));
  return record;
}

std::string StepPositionJson(const StepPosition& position) {
  json::array done;
  for (const auto& [from, progress] : position.done)
    done.push_back(json::object{{"source", from.source},
                                {"source_partition", from.partition},
                                {"next_offset", progress.next.v},
                                {"watermark", TimeOrNull(progress.watermark)},
                                {"ledger", LedgerJson(progress.ledger)}});
  return json::serialize(json::object{{"schema_version", kSchemaVersion},
                                      {"topic_id", position.topic_id},
                                      {"next_offset", position.next.v},
                                      {"done", std::move(done)}});
}

Result<StepPosition> ParseStepPosition(std::string_view text) {
  Memory memory;
  const Result<json::object> parsed = ParseValue(text, memory);
  if (!parsed.ok()) return parsed.status();
  Integers fields(parsed.value());
  std::optional<std::string> topic_id = TextOf(parsed.value(), "topic_id");
  StepPosition position{.topic_id = {}, .next = {fields.Get("next_offset")}, .done = {}};
  const json::value* const done = parsed.value().if_contains("done");
  if (!topic_id || !fields.ok() || done == nullptr || !done->is_array())
    return Status::Stop("a position without its fields");
  position.topic_id = *std::move(topic_id);
  for (const json::value& element : done->get_array()) {
    if (!element.is_object()) return Status::Stop("a position without its fields");
    Integers numbers(element.get_object());
    std::optional<std::string> source = TextOf(element.get_object(), "source");
    const auto partition = static_cast<int32_t>(numbers.Get("source_partition"));
    const Result<Progress> progress = ProgressOf(element.get_object());
    if (!source || !numbers.ok() || !progress.ok())
      return Status::Stop("a position without its fields");
    position.done.emplace(SourcePartition{*std::move(source), partition}, progress.value());
  }
  return position;
}

Message DeadLetterMessage(const std::string& topic, const SourcePartition& from,
                          const DeadLetter& event) {
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
