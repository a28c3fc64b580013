#include "operators/count_operator.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "operators/count_windows.h"
#include "operators/decode.h"
#include "operators/deduplicate.h"

namespace sightline {
namespace {

constexpr uint64_t kStateVersion = 1;  // of Save()'s layout
// How many events before its turn an event is looked up.
constexpr size_t kLookAhead = 16;

}  // namespace

struct CountOperator::State {
  explicit State(const PipelineSpec& spec)
      : spec(spec), decoder(spec.timestamp_unit), deduplicate(spec), windows(spec) {}
  PipelineSpec spec;
  Decoder decoder;
  Deduplicate deduplicate;
  CountWindows windows;
  std::vector<Event> events;  // of the record in hand
  AppendTime newest_append_time = kNoAppendTime;
};

CountOperator::CountOperator(const PipelineSpec& spec) : state_(std::make_unique<State>(spec)) {}
CountOperator::~CountOperator() = default;
CountOperator::CountOperator(CountOperator&&) noexcept = default;
CountOperator& CountOperator::operator=(CountOperator&&) noexcept = default;

void CountOperator::BeginBatch() {
  state_->decoder.Clear();
  state_->deduplicate.BeginBatch();
}

void CountOperator::OnRecord(Offset offset, AppendTime append_time, std::string_view payload) {
  state_->events.clear();
  state_->decoder.Decode(payload, state_->events);
  OnEvents(offset, append_time, state_->events);
}

void CountOperator::OnEvents(Offset offset, AppendTime append_time, std::span<const Event> events) {
  Deduplicate& deduplicate = state_->deduplicate;
  std::array<Deduplicate::Hint, kLookAhead> hints;
  for (size_t i = 0; i < std::min(events.size(), kLookAhead); ++i)
    hints[i] = deduplicate.Look(events[i]);
  for (size_t i = 0; i < events.size(); ++i) {
    const Watermark watermark = deduplicate.watermark();
    Deduplicate::Hint& hint = hints[i % kLookAhead];
    const Decision decision = deduplicate.Decide(events[i], append_time, hint);
    if (i + kLookAhead < events.size()) hint = deduplicate.Look(events[i + kLookAhead]);
    state_->windows.Add(events[i], decision, offset, append_time, watermark);
  }
  state_->newest_append_time = append_time;
}

Segment CountOperator::TakeSegment(Offset first, Offset next) {
  Deduplicate& deduplicate = state_->deduplicate;
  Segment segment = state_->windows.Take(first, next, deduplicate.watermark(), deduplicate.items());
  deduplicate.CompactIfDue(state_->newest_append_time);
  return segment;
}

size_t CountOperator::open_rows() const { return state_->windows.rows(); }
size_t CountOperator::open_bytes() const { return state_->windows.set_aside_bytes(); }
Watermark CountOperator::watermark() const { return state_->deduplicate.watermark(); }
int64_t CountOperator::remembered_ids() const { return state_->deduplicate.remembered_ids(); }
int64_t CountOperator::cameras() const { return state_->deduplicate.cameras(); }

void CountOperator::Save(const std::function<void(std::string_view)>& out) const {
  CHECK(state_->windows.rows() == 0);
  ByteWriter header;
  header.Varint(kStateVersion);
  header.Fixed64(state_->spec.Fingerprint());
  out(header.bytes());
  state_->deduplicate.Save(out);
}

Status CountOperator::Load(std::string_view bytes) {
  ByteReader in(bytes);
  if (const uint64_t version = in.Varint(); in.ok() && version != kStateVersion)
    return Status::Stop(
        "the checkpoint was written by another version of sightline (state layout " +
        std::to_string(version) + ", this one reads " + std::to_string(kStateVersion) +
        "): run the version that wrote it");
  if (const uint64_t fingerprint = in.Fixed64();
      in.ok() && fingerprint != state_->spec.Fingerprint())
    return Status::Stop(
        "the checkpoint was written under other pipeline settings: results would not be those of "
        "either; restore the settings, or hand over to a new pipeline with count_from");
  if (!in.ok()) return Status::Stop("the operator state of the checkpoint is damaged: too short");
  return state_->deduplicate.Load(in);
}

}  // namespace sightline
