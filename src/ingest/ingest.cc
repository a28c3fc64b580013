#include "ingest/ingest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/murmur2.h"
#include "operators/json_walk.h"

namespace sightline {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool Opens(std::string_view text) { return text.starts_with('{') || text.starts_with('['); }

// Whether the first value of `text` continues after its first line. This is a guess, because a line
// may also have been cut off. The lines of an array usually end with a comma, and the next line of
// an object begins with a name, but lines of NDJSON begin with a brace.
bool SpansLines(std::string_view text) {
  const size_t first_end = text.find('\n');
  if (first_end == std::string_view::npos) return false;
  const std::string_view first = Trim(text.substr(0, first_end));
  const std::string_view next = Trim(text.substr(first_end));
  if (!Opens(first) || next.empty()) return false;
  const bool goes_on =
      first.front() == '[' && std::string_view("[{,:").find(first.back()) != first.npos;
  if (Opens(next) && !goes_on) return false;
  return EndsInside(first);
}

void AppendVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// Whether the engine, which decodes `record` as a message, will find exactly one malformed element.
bool IsOneMalformed(std::string& record, IngestScratch* scratch) {
  const size_t size = record.size();
  record.append(kDecodePadding, ' ');
  scratch->events.clear();
  scratch->decoder.Decode({record.data(), size}, scratch->events);
  record.resize(size);
  return scratch->events.size() == 1 && scratch->events.front().kind == Event::Kind::kMalformed;
}

std::string_view WithoutMark(std::string_view body) {
  return body.substr(body.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0);
}

}  // namespace

bool IsBlank(std::string_view body) { return Trim(WithoutMark(body)).empty(); }

BodySplitter::BodySplitter(std::string_view body) : body_(WithoutMark(body)), rest_(body_) {
  const std::string_view text = Trim(body_);
  spans_lines_ = SpansLines(text);
  one_array_ = text.starts_with('[') && (spans_lines_ || text.find('\n') == std::string_view::npos);
}

void BodySplitter::RestartByLines() {
  spans_lines_ = one_array_ = in_array_ = false;
  span_ = {};
  rest_ = body_;
  line_ = 0;
}

bool BodySplitter::NextSpan() {
  if (rest_.empty()) return false;
  const bool all = spans_lines_;
  const size_t end = all ? rest_.size() : std::min(rest_.find('\n'), rest_.size());
  span_ = rest_.substr(0, end);
  rest_.remove_prefix(std::min(end + 1, rest_.size()));
  ++line_;
  return true;
}

// Each turn of the loop does one thing: it ends an empty array, returns an element of an array,
// enters an array, returns what is left of the span as an element, or takes the next span.
bool BodySplitter::Next(Element* element) {
  for (;;) {
    span_ = Trim(span_);
    if (in_array_ && span_.starts_with(']') && array_empty_) {
      EndArray(1);
    } else if (in_array_) {
      return SplitArray(element);
    } else if (span_.starts_with('[')) {
      span_.remove_prefix(1);
      in_array_ = array_empty_ = true;
    } else if (!span_.empty()) {
      *element = {
          .bytes = std::exchange(span_, {}), .line = Number(), .whole_object = spans_lines_};
      return true;
    } else if (!NextSpan()) {
      return false;
    }
  }
}

bool BodySplitter::SplitArray(Element* element) {
  array_empty_ = false;
  const size_t end = EndOfElement(span_);
  *element = {.bytes = Trim(span_.substr(0, end)),
              .line = Number(),
              .unfinished = end == std::string_view::npos};
  if (element->unfinished) {
    in_array_ = false;
    span_ = {};
  } else if (span_[end] == ']') {
    EndArray(end + 1);
  } else {
    span_.remove_prefix(end + 1);
  }
  return true;
}

// The next `bytes` of the span end the array. After an array that spans lines, lines follow.
void BodySplitter::EndArray(size_t bytes) {
  in_array_ = false;
  span_.remove_prefix(bytes);
  if (!spans_lines_) return;
  spans_lines_ = false;
  rest_ = std::exchange(span_, {});
}

int64_t BodySplitter::Number() { return one_array_ ? ++number_ : line_; }

Ingest::Ingest(std::string_view body, int32_t partitions, IngestScratch* scratch)
    : body_bytes_(body.size()), scratch_(scratch), splitter_(body) {
  CHECK(partitions >= 1);
  slots_.resize(static_cast<size_t>(partitions));
}

bool Ingest::Step(size_t bytes) {
  const size_t until = splitter_.position() + bytes;
  bool done = true;
  for (BodySplitter::Element element; splitter_.Next(&element);) {
    Decode(element);
    if (splitter_.position() < until) continue;
    done = false;
    break;
  }
  scratch_->decoder.Clear();
  return done;
}

void Ingest::Decode(const BodySplitter::Element& element) {
  if (element.unfinished || element.bytes.empty())
    return Reject(element, MalformedReason::kNotJson, {});
  scratch_->events.clear();
  scratch_->decoder.DecodeElement(element.bytes, scratch_->events);
  CHECK(scratch_->events.size() == 1);
  const Event& event = scratch_->events.front();
  if (event.kind != Event::Kind::kMalformed) return Accept(event, element.bytes);
  if (element.whole_object) return splitter_.RestartByLines();
  Reject(element, event.reason, event.field);
}

void Ingest::Accept(const Event& event, std::string_view bytes) {
  ++done_.accepted;
  const auto partitions = static_cast<int32_t>(slots_.size());
  std::string& packed = Pack(PartitionOfKey(event.camera.v, partitions),
                             DetectionOrigin{event.camera, event.location}, bytes);
  if (std::memchr(bytes.data(), '\n', bytes.size()) == nullptr) return;
  // The element spans several lines, but the engine reads a record as lines. Outside strings a line
  // end means no more than a space; inside strings JSON does not allow it.
  std::replace(packed.end() - static_cast<ptrdiff_t>(bytes.size()), packed.end(), '\n', ' ');
}

void Ingest::Reject(const BodySplitter::Element& element, MalformedReason reason,
                    std::string_view field) {
  ++done_.rejected;
  ++done_.rejected_by[static_cast<size_t>(reason)];
  if (done_.errors.size() < kIngestErrorsMax)
    done_.errors.push_back({.line = element.line, .reason = reason, .field = std::string(field)});
  std::string& record = scratch_->rejected;
  record = element.bytes.substr(0, kRejectedBytesMax);
  if (record.empty()) record = ",";
  // On its own the element may look valid, or like several: an array in an array, the last element
  // of an array that never ends, a long one cut after a brace. Put after a '[' that nothing closes,
  // it is one malformed element, whatever it contains.
  if (!IsOneMalformed(record, scratch_)) {
    record.insert(0, 1, '[');
    record.resize(std::min(record.size(), kRejectedBytesMax));
  }
  Pack(0, std::nullopt, record);
}

std::string& Ingest::Pack(int32_t partition, std::optional<DetectionOrigin> origin,
                          std::string_view record) {
  PackedRecords& slot = slots_[static_cast<size_t>(partition)];
  if (slot.count == 0) {
    // A quarter more than an even share, so that most buffers never grow.
    slot.partition = partition;
    slot.bytes.reserve(record.size() + body_bytes_ / slots_.size() * 5 / 4);
  }
  ++slot.count;
  slot.origins.push_back(origin);
  AppendVarint(slot.bytes, record.size());
  return slot.bytes.append(record);
}

Ingested Ingest::Take() {
  for (PackedRecords& slot : slots_)
    if (slot.count > 0) done_.records.push_back(std::move(slot));
  slots_.clear();
  return std::move(done_);
}

std::string Ingested::ToJson() const {
  std::string json = fmt::format(R"({{"accepted":{},"rejected":{},"errors":[)", accepted, rejected);
  for (const IngestError& error : errors) {
    if (&error != &errors.front()) json.push_back(',');
    fmt::format_to(std::back_inserter(json), R"({{"line":{},"reason":"{}")", error.line,
                   ToString(error.reason));
    if (!error.field.empty())
      fmt::format_to(std::back_inserter(json), R"(,"field":"{}")", error.field);
    json.push_back('}');
  }
  const bool truncated = rejected > static_cast<int64_t>(errors.size());
  fmt::format_to(std::back_inserter(json), R"(],"errors_truncated":{}}})", truncated);
  return json;
}

}  // namespace sightline
