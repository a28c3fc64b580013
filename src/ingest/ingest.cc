#include "ingest/ingest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/murmur2.h"

namespace sightline {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

bool Opens(std::string_view text) { return text.starts_with('{') || text.starts_with('['); }

// Walks over `text` outside of strings until `stop(c, depth)`; npos and the depth at the end if it
// never does. A string that does not end counts as one level more.
template <typename Stop>
size_t Walk(std::string_view text, int64_t* depth, Stop stop) {
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i)
        if (text[i] == '\\') ++i;
      if (i >= text.size()) ++*depth;
      continue;
    }
    if (stop(c, *depth)) return i;
    if (c == '{' || c == '[') ++*depth;
    if (c == '}' || c == ']') --*depth;
  }
  return std::string_view::npos;
}

// Where an element of an array ends.
size_t EndOfElement(std::string_view text) {
  int64_t depth = 0;
  return Walk(text, &depth, [](char c, int64_t at) { return at == 0 && (c == ',' || c == ']'); });
}

// Whether the first value of `text` goes on behind its first line. Only a guess is possible,
// because a line may also have been cut off. An array's lines mostly end with a comma, an object's
// next line begins with a name; lines of NDJSON begin with a brace.
bool SpansLines(std::string_view text) {
  const size_t first_end = text.find('\n');
  if (first_end == std::string_view::npos) return false;
  const std::string_view first = Trim(text.substr(0, first_end));
  const std::string_view next = Trim(text.substr(first_end));
  if (!Opens(first) || next.empty()) return false;
  const bool goes_on =
      first.front() == '[' && std::string_view("[{,:").find(first.back()) != first.npos;
  if (Opens(next) && !goes_on) return false;
  int64_t depth = 0;
  Walk(first, &depth, [](char, int64_t) { return false; });
  return depth > 0;
}

void AppendVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// Whether the engine, which reads `record` as a message, will find one broken element in it.
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

// `bytes` of the span are the rest of the array. Behind an array over lines come lines.
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
  // An element over several lines. A record is read as lines, and line ends outside of strings mean
  // no more than spaces; inside of them they are not valid.
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
  // On its own it may look whole: an array in an array, the last element of an array that never
  // ends, a long one cut behind its brace. As the first element of an array without end it is one
  // broken element whatever it holds.
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
    // A quarter more than an even share: most bodies then never grow it.
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
