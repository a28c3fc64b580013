#include "workers/messages.h"

#include <optional>
#include <utility>

#include "base/bytes.h"

namespace sightline {
namespace {

Status BadMessage() { return Status::Stop("a message of a query worker is malformed"); }

void Put(ByteWriter& out, const Status& status) {
  out.Varint(static_cast<uint64_t>(status.code()));
  out.String(status.message());
}
Status GetStatus(ByteReader& in) {
  const auto code = static_cast<StatusCode>(in.Varint());
  std::string message(in.String());
  switch (code) {
    case StatusCode::kOk:
      return Status::Ok();
    case StatusCode::kRetry:
      return Status::Retry(std::move(message));
    case StatusCode::kRebuild:
    case StatusCode::kStop:
      break;
  }
  return Status::Stop(std::move(message));
}

void Put(ByteWriter& out, const std::optional<int64_t>& value) {
  out.Varint(value ? 1 : 0);
  if (value) out.Signed(*value);
}
std::optional<int64_t> GetOptional(ByteReader& in) {
  return in.Varint() != 0 ? std::optional(in.Signed()) : std::nullopt;
}
template <typename Id>
std::optional<int64_t> Number(const std::optional<Id>& id) {
  return id ? std::optional<int64_t>(id->v) : std::nullopt;
}
template <typename Id>
std::optional<Id> As(const std::optional<int64_t>& number) {
  return number ? std::optional(Id{*number}) : std::nullopt;
}

void Put(ByteWriter& out, const std::optional<std::set<LocationId>>& locations) {
  out.Varint(locations ? 1 : 0);
  if (!locations) return;
  out.Varint(locations->size());
  for (const LocationId location : *locations) out.Signed(location.v);
}
std::optional<std::set<LocationId>> GetLocations(ByteReader& in) {
  if (in.Varint() == 0) return std::nullopt;
  std::set<LocationId> locations;
  for (uint64_t left = in.Varint(); left > 0 && in.ok(); --left)
    locations.insert(locations.end(), LocationId{in.Signed()});
  return locations;
}

void Put(ByteWriter& out, const Window& range) {
  out.Signed(range.start.v);
  out.Signed(range.end.v);
}
Window GetRange(ByteReader& in) {
  const EventTime start{in.Signed()};
  return {start, {in.Signed()}};
}

struct PutRequest {
  ByteWriter& out;
  void operator()(const SqlRequest& request) { out.String(request.sql); }
  void operator()(const TopRequest& request) {
    Put(out, Number(request.location));
    Put(out, request.range);
    out.Signed(request.limit);
  }
  void operator()(const CountsRequest& request) {
    Put(out, Number(request.location));
    out.Varint(request.item ? 1 : 0);
    if (request.item) out.String(*request.item);
    Put(out, request.range);
    out.Signed(request.step.v);
  }
  void operator()(const ItemsRequest& request) {
    Put(out, Number(request.location));
    Put(out, request.range);
    out.Signed(request.limit);
  }
  void operator()(const LedgerRequest& request) {
    Put(out, Number(request.location));
    out.Varint(request.hours ? 1 : 0);
    if (request.hours) Put(out, *request.hours);
    out.Varint(static_cast<uint64_t>(request.group));
  }
  void operator()(const LocationsRequest& request) { Put(out, request.range); }
};

// The members are read in the order in which PutRequest writes them.
decltype(Question::request) GetRequest(ByteReader& in, uint64_t kind) {
  switch (kind) {
    case 1: {
      TopRequest request{.location = As<LocationId>(GetOptional(in)), .range = GetRange(in)};
      request.limit = static_cast<int32_t>(in.Signed());
      return request;
    }
    case 2: {
      CountsRequest request{.location = As<LocationId>(GetOptional(in))};
      if (in.Varint() != 0) request.item = std::string(in.String());
      request.range = GetRange(in);
      request.step = {in.Signed()};
      return request;
    }
    case 3: {
      ItemsRequest request{.location = As<LocationId>(GetOptional(in)), .range = GetRange(in)};
      request.limit = static_cast<int32_t>(in.Signed());
      return request;
    }
    case 4: {
      LedgerRequest request{.location = As<LocationId>(GetOptional(in))};
      if (in.Varint() != 0) request.hours = GetRange(in);
      request.group = static_cast<LedgerGroup>(in.Varint());
      return request;
    }
    case 5:
      return LocationsRequest{GetRange(in)};
    default:
      return SqlRequest{std::string(in.String())};
  }
}

void Put(ByteWriter& out, const LakeFile& file) {
  out.String(file.path);
  out.Signed(file.rows);
  out.Signed(file.bytes);
  for (const auto& value : {Number(file.location), Number(file.day),
                            file.bucket ? std::optional<int64_t>(*file.bucket) : std::nullopt,
                            Number(file.window_start_min), Number(file.window_start_max),
                            Number(file.append_hour_min), Number(file.append_hour_max)})
    Put(out, value);
  out.Varint(file.has_lost ? 1 : 0);
}
LakeFile GetFile(ByteReader& in) {
  LakeFile file{.path = std::string(in.String()), .rows = in.Signed(), .bytes = in.Signed()};
  file.location = As<LocationId>(GetOptional(in));
  file.day = As<Day>(GetOptional(in));
  if (const auto bucket = GetOptional(in)) file.bucket = static_cast<int32_t>(*bucket);
  file.window_start_min = As<EventTime>(GetOptional(in));
  file.window_start_max = As<EventTime>(GetOptional(in));
  file.append_hour_min = As<EventTime>(GetOptional(in));
  file.append_hour_max = As<EventTime>(GetOptional(in));
  file.has_lost = in.Varint() != 0;
  return file;
}
void Put(ByteWriter& out, const std::vector<LakeFile>& files) {
  out.Varint(files.size());
  for (const LakeFile& file : files) Put(out, file);
}
std::vector<LakeFile> GetFiles(ByteReader& in) {
  std::vector<LakeFile> files;
  for (uint64_t left = in.Varint(); left > 0 && in.ok(); --left) files.push_back(GetFile(in));
  return files;
}

void Put(ByteWriter& out, const std::vector<std::string>& texts) {
  out.Varint(texts.size());
  for (const std::string& text : texts) out.String(text);
}
std::vector<std::string> GetTexts(ByteReader& in) {
  std::vector<std::string> texts;
  for (uint64_t left = in.Varint(); left > 0 && in.ok(); --left) texts.emplace_back(in.String());
  return texts;
}

template <typename T>
Result<T> Whole(const ByteReader& in, T value) {
  if (!in.done()) return BadMessage();
  return value;
}

}  // namespace

std::string Encode(const WorkerSetup& setup) {
  ByteWriter out;
  out.String(setup.root);
  Put(out, setup.read);
  for (const int64_t value : {setup.memory_bytes_max, setup.answer_bytes_max,
                              int64_t{setup.threads}, setup.window_size.v})
    out.Signed(value);
  return out.Take();
}

Result<WorkerSetup> DecodeSetup(std::string_view bytes) {
  ByteReader in(bytes);
  WorkerSetup setup{.root = std::string(in.String())};
  setup.read = GetTexts(in);
  setup.memory_bytes_max = in.Signed();
  setup.answer_bytes_max = in.Signed();
  setup.threads = static_cast<int32_t>(in.Signed());
  setup.window_size = {in.Signed()};
  return Whole(in, std::move(setup));
}

std::string Encode(const AskMessage& ask) {
  ByteWriter out;
  out.Varint(ask.question.request.index());
  std::visit(PutRequest{out}, ask.question.request);
  Put(out, ask.question.scope.locations);
  out.Varint(static_cast<uint64_t>(ask.question.format));
  out.Signed(ask.time.v);
  out.Signed(ask.rows_max);
  return out.Take();
}

Result<AskMessage> DecodeAsk(std::string_view bytes) {
  ByteReader in(bytes);
  AskMessage ask;
  const uint64_t kind = in.Varint();
  ask.question.request = GetRequest(in, kind);
  ask.question.scope.locations = GetLocations(in);
  ask.question.format = static_cast<ResultFormat>(in.Varint());
  ask.time = {in.Signed()};
  ask.rows_max = in.Signed();
  return Whole(in, std::move(ask));
}

std::string EncodeNeeds(const ViewBounds& views) {
  ByteWriter out;
  out.Varint(views.size());
  for (const auto& [view, bounds] : views) {
    out.String(view);
    Put(out, bounds.locations);
    for (const int64_t value :
         {bounds.first_day.v, bounds.end_day.v, bounds.first_append.v, bounds.end_append.v})
      out.Signed(value);
  }
  return out.Take();
}

Result<ViewBounds> DecodeNeeds(std::string_view bytes) {
  ByteReader in(bytes);
  ViewBounds views;
  for (uint64_t left = in.Varint(); left > 0 && in.ok(); --left) {
    std::string view(in.String());
    ReadBounds bounds;
    bounds.locations = GetLocations(in);
    bounds.first_day = {in.Signed()};
    bounds.end_day = {in.Signed()};
    bounds.first_append = {in.Signed()};
    bounds.end_append = {in.Signed()};
    views[std::move(view)] = std::move(bounds);
  }
  return Whole(in, std::move(views));
}

std::string Encode(const StateMessage& state) {
  ByteWriter out;
  Put(out, state.status);
  out.Signed(state.counts_version);
  out.Signed(state.ledger_version);
  Put(out, state.counts_files);
  Put(out, state.ledger_files);
  for (const bool has : {state.has_counts, state.has_ledger, state.has_locations})
    out.Varint(has ? 1 : 0);
  Put(out, state.parts);
  return out.Take();
}

Result<StateMessage> DecodeState(std::string_view bytes) {
  ByteReader in(bytes);
  StateMessage state;
  state.status = GetStatus(in);
  state.counts_version = in.Signed();
  state.ledger_version = in.Signed();
  state.counts_files = GetFiles(in);
  state.ledger_files = GetFiles(in);
  for (bool* has : {&state.has_counts, &state.has_ledger, &state.has_locations})
    *has = in.Varint() != 0;
  state.parts = GetTexts(in);
  return Whole(in, std::move(state));
}

std::string Encode(const EndMessage& end) {
  ByteWriter out;
  Put(out, end.status);
  out.Varint(static_cast<uint64_t>(end.limit));
  out.Varint(end.truncated ? 1 : 0);
  out.Varint(end.unreadable_files.size());
  for (const auto& [path, why] : end.unreadable_files) {
    out.String(path);
    out.String(why);
  }
  out.Varint(end.unreadable_parts.size());
  for (const uint32_t part : end.unreadable_parts) out.Varint(part);
  return out.Take();
}

Result<EndMessage> DecodeEnd(std::string_view bytes) {
  ByteReader in(bytes);
  EndMessage end;
  end.status = GetStatus(in);
  const uint64_t limit = in.Varint();
  if (limit > static_cast<uint64_t>(QueryLimit::kCrash)) return BadMessage();
  end.limit = static_cast<QueryLimit>(limit);
  end.truncated = in.Varint() != 0;
  for (uint64_t left = in.Varint(); left > 0 && in.ok(); --left) {
    std::string path(in.String());
    end.unreadable_files[std::move(path)] = std::string(in.String());
  }
  for (uint64_t left = in.Varint(); left > 0 && in.ok(); --left)
    end.unreadable_parts.push_back(static_cast<uint32_t>(in.Varint()));
  return Whole(in, std::move(end));
}

}  // namespace sightline
