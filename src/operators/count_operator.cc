#include "operators/count_operator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "operators/count_windows.h"
#include "operators/decode.h"
#include "operators/deduplicate.h"

namespace sightline {
namespace {

// Version 3 of the layout that Save() writes: version, fingerprint without the range, count_from,
// count_until, and the state of Deduplicate. Version 2 had the fingerprint of the whole spec and no
// range. In version 4 the state of Deduplicate has the cameras' clocks; only a pipeline that needs
// them writes it, so that an older version can read all others.
constexpr uint64_t kStateVersion = 3;
constexpr uint64_t kVersionWithoutRange = 2;
constexpr uint64_t kVersionWithClocks = 4;
// How many events are looked up together before they are decided in order: enough for their cache
// misses to overlap, and few enough for the loaded lines to stay in the first-level cache.
constexpr size_t kTogether = 32;

// The fingerprint of the rules that the remembered ids depend on. The range [count_from,
// count_until) is not among them: ids outside it are remembered, too.
uint64_t FingerprintWithoutRange(PipelineSpec spec) {
  spec.count_from = kBeforeAllTime;
  spec.count_until = kAfterAllTime;
  return spec.Fingerprint();
}

Status OtherSettings() {
  return Status::Stop(
      "the checkpoint was written with other pipeline settings, and counting on would match "
      "neither the old nor the new settings; restore the settings, or hand over to a new pipeline "
      "with count_from");
}

// Reads what Save() wrote before the state of Deduplicate, and returns the range. kStop: the bytes
// are damaged, of another version, or of other settings.
Result<CountRange> ReadHeader(ByteReader& in, const PipelineSpec& spec) {
  const uint64_t version = in.Varint();
  if (in.ok() && (version < kVersionWithoutRange || version > kVersionWithClocks))
    return Status::Stop(
        fmt::format("the checkpoint was written by another version of sightline (state layout {}; "
                    "this version reads {} to {}): run the version that wrote it",
                    version, kVersionWithoutRange, kVersionWithClocks));
  const uint64_t fingerprint = in.Fixed64();
  CountRange range{spec.count_from, spec.count_until};
  if (version != kVersionWithoutRange) {
    range = {{in.Signed()}, {in.Signed()}};
    if (in.ok() && fingerprint != FingerprintWithoutRange(spec)) return OtherSettings();
  } else if (in.ok() && fingerprint != spec.Fingerprint()) {
    if (fingerprint != FingerprintWithoutRange(spec)) return OtherSettings();
    // A version 2 state whose fingerprint fits only without a range was written without one.
    range = {};
  }
  if (!in.ok())
    return Status::Stop("the operator state of the checkpoint is damaged: it is too short");
  return range;
}

std::string TimeOrNone(EventTime time) {
  return time == kBeforeAllTime || time == kAfterAllTime ? "not set" : fmt::format("{} ms", time.v);
}

// Checks that every event decided under the range `old` would be decided the same way under `spec`.
// `greatest` is the greatest accepted event time; nothing means that there are no events yet, and
// then any range will do.
Status CheckRange(const CountRange& old, const PipelineSpec& spec,
                  std::optional<EventTime> greatest) {
  if (!greatest) return Status::Ok();
  if (old.from != spec.count_from)
    return Status::Stop(fmt::format(
        "pipeline.count_from was {} and is {} now: with another setting, events that are counted "
        "elsewhere would be counted here, or some would be left out; restore it",
        TimeOrNone(old.from), TimeOrNone(spec.count_from)));
  if (const EventTime until = std::min(old.until, spec.count_until);
      old.until != spec.count_until && *greatest >= until)
    return Status::Stop(
        fmt::format("pipeline.count_until was {} and is {} now, and there are events up to {} ms "
                    "already: with another setting, some of them would have been counted "
                    "differently; restore it, or choose a time ahead of all events",
                    TimeOrNone(old.until), TimeOrNone(spec.count_until), greatest->v));
  return Status::Ok();
}

}  // namespace

struct CountOperator::State {
  State(const PipelineSpec& spec, uint64_t hash_seed)
      : spec(spec), decoder(spec.decode), deduplicate(spec, hash_seed), windows(spec) {}
  PipelineSpec spec;
  Decoder decoder;
  Deduplicate deduplicate;
  CountWindows windows;
  std::vector<Event> events;  // of the record being processed
  CountRange loaded_range{spec.count_from, spec.count_until};
};

CountOperator::CountOperator(const PipelineSpec& spec, uint64_t hash_seed)
    : state_(std::make_unique<State>(spec, hash_seed)) {}
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
  CountWindows& windows = state_->windows;
  std::array<Deduplicate::Hint, kTogether> hints;
  for (; !events.empty(); events = events.subspan(std::min(events.size(), kTogether))) {
    const size_t together = std::min(events.size(), kTogether);
    // Three passes over the batch before the decisions, each of which loads what the next one
    // reads. The decisions themselves stay in order: each depends on the ones before it.
    for (size_t i = 0; i < together; ++i) hints[i] = deduplicate.MakeHint(events[i]);
    for (size_t i = 0; i < together; ++i) deduplicate.Prefetch(hints[i]);
    for (size_t i = 0; i < together; ++i) windows.Prefetch(hints[i].camera, hints[i].fact);
    for (size_t i = 0; i < together; ++i) {
      const Watermark watermark = deduplicate.watermark();
      const Decision decision = deduplicate.Decide(events[i], append_time, hints[i]);
      windows.Add(events[i], decision, offset, append_time, watermark);
    }
  }
}

Segment CountOperator::TakeSegment(Offset first, Offset next) {
  Deduplicate& deduplicate = state_->deduplicate;
  Segment segment = state_->windows.Take(first, next, deduplicate.watermark(), deduplicate.items());
  // Compaction renumbers items and facts, so it may only run here: between segments nobody holds
  // such a number.
  if (deduplicate.CompactIfDue()) state_->windows.ForgetNumbers();
  return segment;
}

size_t CountOperator::open_rows() const { return state_->windows.rows(); }
size_t CountOperator::open_bytes() const { return state_->windows.dead_letter_bytes(); }
Watermark CountOperator::watermark() const { return state_->deduplicate.watermark(); }
int64_t CountOperator::remembered_ids() const { return state_->deduplicate.remembered_ids(); }
int64_t CountOperator::cameras() const { return state_->deduplicate.cameras(); }
ClockJumps CountOperator::clock_jumps() const { return state_->deduplicate.clock_jumps(); }
const IdConflicts& CountOperator::id_conflicts() const {
  return state_->deduplicate.id_conflicts();
}
void CountOperator::ForgetIdConflicts() { state_->deduplicate.ForgetIdConflicts(); }

void CountOperator::Save(const std::function<void(std::string_view)>& out) const {
  CHECK(state_->windows.rows() == 0);
  ByteWriter header;
  const bool clocks = state_->spec.watermark_step == WatermarkStep::kBounded;
  header.Varint(clocks ? kVersionWithClocks : kStateVersion);
  header.Fixed64(FingerprintWithoutRange(state_->spec));
  header.Signed(state_->spec.count_from.v);
  header.Signed(state_->spec.count_until.v);
  out(header.bytes());
  state_->deduplicate.Save(out);
}

Status CountOperator::Load(std::string_view bytes) {
  const PipelineSpec& spec = state_->spec;
  ByteReader in(bytes);
  const Result<CountRange> range = ReadHeader(in, spec);
  if (!range.ok()) return range.status();
  state_->loaded_range = range.value();
  RETURN_IF_ERROR(state_->deduplicate.Load(in));
  if (!range_changed()) return Status::Ok();
  return CheckRange(state_->loaded_range, spec, state_->deduplicate.greatest());
}

Status CountOperator::CheckSettings(const PipelineSpec& spec, std::string_view state) {
  ByteReader in(state);
  return ReadHeader(in, spec).status();
}

bool CountOperator::range_changed() const {
  return state_->loaded_range != CountRange{state_->spec.count_from, state_->spec.count_until};
}

std::optional<CountRange> CountOperator::RangeOf(std::string_view state) {
  ByteReader in(state);
  const uint64_t version = in.Varint();
  in.Fixed64();
  const CountRange range{{in.Signed()}, {in.Signed()}};
  if (!in.ok() || (version != kStateVersion && version != kVersionWithClocks)) return std::nullopt;
  return range;
}

}  // namespace sightline
