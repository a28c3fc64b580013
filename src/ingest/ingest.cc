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
constexpr size_t kNamedErrorsMax = 3;  // in the sentence; the list has more

void AppendVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// One sentence about the first errors. Reasons and fields are names, so it needs no JSON escapes.
std::string WhyNothing(const Ingested& ingested) {
  std::string why = "nothing was accepted: ";
  const size_t named = std::min(ingested.errors.size(), kNamedErrorsMax);
  for (size_t i = 0; i < named; ++i) {
    const IngestError& error = ingested.errors[i];
    fmt::format_to(std::back_inserter(why), "{}line {}: {}{}{}", i == 0 ? "" : "; ", error.line,
                   ToString(error.reason), error.field.empty() ? "" : " ", error.field);
  }
  if (const auto more = ingested.rejected - static_cast<int64_t>(named); more > 0)
    fmt::format_to(std::back_inserter(why), "; and {} more", more);
  return why + ". The same body would be rejected again: correct the elements, then send them";
}

std::string_view WithoutMark(std::string_view body) {
  return body.substr(body.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0);
}

// Whether the text begins with an array that is all of it or has several lines.
bool IsOneArray(std::string_view text) {
  if (!text.starts_with('[')) return false;
  const size_t first_end = text.find('\n');
  return first_end == std::string_view::npos || EndsInside(text.substr(0, first_end));
}

}  // namespace

bool IsBlank(std::string_view body) { return Trim(WithoutMark(body)).empty(); }

Ingest::Ingest(std::string_view body, int32_t partitions, IngestScratch* scratch)
    : body_(WithoutMark(body)),
      scratch_(scratch),
      splitter_(body_),
      one_array_(IsOneArray(Trim(body_))) {
  CHECK(partitions >= 1);
  slots_.resize(static_cast<size_t>(partitions));
}

bool Ingest::Step(size_t bytes) {
  if (splitter_.position() == 0) {
    if (const MalformedReason other = OtherFormat(Trim(body_)); other != MalformedReason::kNone) {
      Reject(body_, {.line = 1, .reason = other, .field = {}});
      return true;
    }
  }
  const size_t until = splitter_.position() + bytes;
  bool done = true;
  for (ElementSplitter::Element element; splitter_.Next(&element);) {
    Decode(element);
    if (splitter_.position() < until) continue;
    done = false;
    break;
  }
  scratch_->decoder.Clear();
  return done;
}

int64_t Ingest::NumberOf(const ElementSplitter::Element& element) const {
  return one_array_ ? done_.accepted + done_.rejected + 1 : int64_t{element.line} + 1;
}

void Ingest::Decode(const ElementSplitter::Element& element) {
  if (element.broken || element.bytes.empty())
    return Reject(element.bytes, {.line = NumberOf(element), .reason = MalformedReason::kNotJson});
  scratch_->events.clear();
  scratch_->decoder.DecodeElement(element.bytes, scratch_->events);
  CHECK(scratch_->events.size() == 1);
  const Event& event = scratch_->events.front();
  if (event.kind != Event::Kind::kMalformed) return Accept(event, element.bytes);
  if (element.guess && RefutesGuess(event.reason)) return splitter_.Split();
  Reject(element.bytes,
         {.line = NumberOf(element), .reason = event.reason, .field = std::string(event.field)});
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

void Ingest::Reject(std::string_view bytes, const IngestError& error) {
  ++done_.rejected;
  ++done_.rejected_by[static_cast<size_t>(error.reason)];
  if (done_.errors.size() < kIngestErrorsMax) done_.errors.push_back(error);
  constexpr size_t kBrackets = 2;
  if (bytes.empty()) bytes = ",";
  bytes = bytes.substr(0, kRejectedBytesMax - kBrackets);
  Pack(0, std::nullopt, scratch_->decoder.AsOneMalformed(bytes));
}

std::string& Ingest::Pack(int32_t partition, std::optional<DetectionOrigin> origin,
                          std::string_view record) {
  PackedRecords& slot = slots_[static_cast<size_t>(partition)];
  if (slot.count == 0) {
    // A quarter more than an even share, so that most buffers never grow.
    slot.partition = partition;
    slot.bytes.reserve(record.size() + body_.size() / slots_.size() * 5 / 4);
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
  std::string json = "{";
  if (status() == 422)
    fmt::format_to(
        std::back_inserter(json),
        R"("type":"about:blank","title":"Unprocessable Content","status":422,"detail":"{}",)",
        WhyNothing(*this));
  fmt::format_to(std::back_inserter(json), R"("accepted":{},"rejected":{},"errors":[)", accepted,
                 rejected);
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
