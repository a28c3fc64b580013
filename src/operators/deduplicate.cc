#include "operators/deduplicate.h"

#include <algorithm>

#include "base/check.h"
#include "base/mutant.h"

namespace sightline {
namespace {

// The event times of a state that is not damaged.
bool IsSane(EventTime time) { return time > kBeforeAllTime && time < kAfterAllTime; }

void WriteTime(ByteWriter& writer, std::optional<EventTime> time) {
  writer.Varint(time.has_value());
  writer.Signed(time.value_or(EventTime{}).v);
}

// False: the time is damaged.
bool ReadTime(ByteReader& in, std::optional<EventTime>* time) {
  const bool has_time = in.Varint() != 0;
  const EventTime read{in.Signed()};
  if (has_time) *time = read;
  return IsSane(read);
}

}  // namespace

uint32_t ItemNumbers::Intern(std::string_view name) {
  if (const auto it = index_.find(name); it != index_.end()) return it->second;
  const auto item = static_cast<uint32_t>(names_.size());
  index_.emplace(names_.emplace_back(name), item);
  return item;
}

void ItemNumbers::Clear() {
  index_.clear();
  names_.clear();
}

Deduplicate::Hint Deduplicate::MakeHint(const Event& event) {
  if (event.kind == Event::Kind::kMalformed) return {};
  Hint hint{.camera = CameraOf(event.camera)};
  if (event.kind == Event::Kind::kHeartbeat) return hint;
  hint.hash = HashOf(event);
  hint.item = items_.Intern(event.item);
  hint.fact_hash = FactKey{hint.camera, hint.item, event.location}.Hash();
  return hint;
}

void Deduplicate::Prefetch(Hint& hint) const {
  ids_.Prefetch(hint.hash);
  hint.fact = fact_index_.Guess(hint.fact_hash);
  if (hint.fact != kNone) Touch(&facts_[hint.fact]);
}

// The first matching rule decides, in the order of the outcome table in docs/SEMANTICS.md.
Decision Deduplicate::Decide(const Event& event, AppendTime now, const Hint& hint) {
  if (event.kind == Event::Kind::kMalformed) return {.outcome = Outcome::kMalformed};
  Camera& camera = cameras_[hint.camera];
  const bool has_clock = now != kNoAppendTime;
  const AppendTime heard = MarkHeard(hint.camera, now);
  const bool future = has_clock && event.time > ToEventTime(now) + spec_.future_tolerance;
  const std::optional<EventTime> reach = Reach(event, hint.camera, now);
  if (event.kind == Event::Kind::kHeartbeat) {
    if (!future)
      Advance(camera, event.time, reach);  // the camera's clock can be wrong in heartbeats, too
    return {.camera = hint.camera};
  }
  if (future) return {.outcome = Outcome::kFuture, .camera = hint.camera};
  if (IsTooLate(event, camera, now)) return {.outcome = Outcome::kTooLate, .camera = hint.camera};
  const bool outside = event.time < spec_.count_from || event.time >= spec_.count_until;
  // An event outside [count_from, count_until) is remembered all the same: so the memory does not
  // depend on the range, and the range may change (CountOperator::Load).
  const Decision decision = Remember(event, heard, hint);
  Advance(camera, event.time, reach);
  if (outside) return {.outcome = Outcome::kOutside, .camera = hint.camera};
  return decision;
}

void Deduplicate::BeginBatch() {
  if (Mutated(Mutant::kBatchWatermark))
    for (Camera& camera : cameras_) camera.frozen = WatermarkOf(camera);
}

uint64_t Deduplicate::HashOf(const Event& event) const {
  const uint64_t id = static_cast<uint64_t>(event.id.v) ^ hash_seed_;
  if (spec_.identity == Identity::kDetection) return HashId(id);
  // A bijection of the id for each camera. Which camera an entry belongs to, its fact says.
  return HashId(id + HashId(static_cast<uint64_t>(event.camera.v)));
}

uint32_t Deduplicate::CameraOf(CameraId id) {
  const auto [it, is_new] = camera_index_.try_emplace(id, static_cast<uint32_t>(cameras_.size()));
  if (is_new) cameras_.push_back({.id = id});
  if (is_new && HasClocks()) clocks_.emplace_back();
  return it->second;
}

EventTime Deduplicate::WatermarkOf(const Camera& camera) const {
  return camera.greatest ? *camera.greatest - spec_.out_of_orderness : kBeforeAllTime;
}

bool Deduplicate::IsTooLate(const Event& event, const Camera& camera, AppendTime now) const {
  EventTime watermark = WatermarkOf(camera);
  if (Mutated(Mutant::kPartitionLateness)) watermark = watermark_;
  if (Mutated(Mutant::kBatchWatermark)) watermark = camera.frozen;
  if (event.time < watermark - spec_.dedup_horizon) return true;
  return spec_.max_age && now != kNoAppendTime && event.time < ToEventTime(now) - *spec_.max_age;
}

bool Deduplicate::IsSilent(const Camera& camera) const {
  const Millis ttl =
      Mutated(Mutant::kForgetCameraEarly) ? Millis{spec_.camera_ttl.v / 2} : spec_.camera_ttl;
  return camera.last_heard != kNoAppendTime && newest_heard_ - camera.last_heard > ttl;
}

// Silence is measured by the greatest append time so far: a log's append times may go back (a
// broker's clock that was set, a new leader), and what was forgotten must stay forgotten, since it
// may have been swept meanwhile.
AppendTime Deduplicate::MarkHeard(uint32_t number, AppendTime now) {
  Camera& camera = cameras_[number];
  if (now != kNoAppendTime) {
    if (!Mutated(Mutant::kForgetByRecord)) now = std::max(now, newest_heard_);
    newest_heard_ = now;
  }
  if (IsSilent(camera)) {
    ++camera.generation;  // forgets its ids
    camera_returned_ = true;
    camera.last_heard = kNoAppendTime;
    // While max_age is on, it refuses whatever this watermark would: the camera is as good as new
    // (DropSilentCameras).
    if (spec_.max_age) camera.greatest.reset();
    if (spec_.max_age && HasClocks()) clocks_[number] = {};
  }
  if (now != kNoAppendTime) camera.last_heard = now;
  return now;
}

// Without append time, nothing tells a wrong clock from a right one but the camera's other records.
// So a record moves the watermark by at most dedup_horizon beyond the camera's moment before, and
// the next moment says whether the clock is to be believed. Records that are too late take part:
// only they tell that a clock was set right.
std::optional<EventTime> Deduplicate::Reach(const Event& event, uint32_t camera, AppendTime now) {
  if (!HasClocks() || now != kNoAppendTime) return event.time;
  CameraClock& clock = clocks_[camera];
  const bool is_event = event.kind == Event::Kind::kDetection;
  // A copy, or another detection of the same frame, does not confirm what the record before says.
  const bool is_copy = is_event && clock.is_event && event.id == clock.id;
  const bool same_moment = clock.is_known && (is_copy || event.time == clock.time);
  if (clock.is_known && (!same_moment || Mutated(Mutant::kCopyConfirms))) {
    if (event.time < clock.time - spec_.dedup_horizon)
      clock_jumps_ = {clock_jumps_.count + 1, cameras_[camera].id};
    clock.reference = clock.time;
  }
  clock = {.is_known = true,
           .is_event = is_event,
           .id = event.id,
           .time = event.time,
           .reference = clock.reference};
  if (!clock.reference) return std::nullopt;
  return std::min(event.time, *clock.reference + spec_.dedup_horizon);
}

void Deduplicate::Advance(Camera& camera, EventTime time, std::optional<EventTime> reach) {
  if (!greatest_ || time > *greatest_) greatest_ = time;
  if (!reach) return;
  if (!camera.greatest || *reach > *camera.greatest) camera.greatest = reach;
  watermark_ = std::max(watermark_, WatermarkOf(camera));
}

// Uses the same inequality with which IsTooLate() refuses events, so that no copy falls between the
// two: as long as a copy is accepted, its id is remembered. Facts of an older generation are
// forgotten, and so are those of a camera that is silent for too long now but has not been heard
// since.
bool Deduplicate::IsRemembered(const IdMemory::Entry& entry, AppendTime now) const {
  const Fact& fact = facts_[entry.fact];
  const Camera& camera = cameras_[fact.camera];
  if (fact.generation != camera.generation) return false;
  if (now != kNoAppendTime && camera.last_heard != kNoAppendTime &&
      now - camera.last_heard > spec_.camera_ttl)
    return false;
  return fact.base.v + entry.newest >= (WatermarkOf(camera) - spec_.dedup_horizon).v;
}

bool Deduplicate::Is(const Fact& fact, const FactKey& key) const {
  return fact.camera == key.camera && fact.item == key.item && fact.location == key.location;
}

bool Deduplicate::Fits(const Fact& fact, EventTime newest) const {
  return fact.generation == cameras_[fact.camera].generation && newest >= fact.base &&
         newest.v - fact.base.v < int64_t{UINT32_MAX};
}

uint32_t Deduplicate::FactFor(const FactKey& key, EventTime newest, uint32_t guess) {
  // The guess matches by hash only, so its key is compared here. Most events repeat a known fact,
  // and the check saves the index look-up.
  if (guess != kNone && Is(facts_[guess], key) && Fits(facts_[guess], newest)) return guess;
  uint32_t& newest_fact =
      fact_index_.At(key.Hash(), [&](uint32_t fact) { return Is(facts_[fact], key); });
  if (newest_fact != kNone && Fits(facts_[newest_fact], newest)) return newest_fact;
  newest_fact = static_cast<uint32_t>(facts_.size());
  // A time before the base does not fit. None is accepted, except where the watermark stays behind
  // the event times (Reach): such a time begins a fact of its own, too.
  facts_.push_back({.camera = key.camera,
                    .generation = cameras_[key.camera].generation,
                    .item = key.item,
                    .location = key.location,
                    .base = newest - spec_.out_of_orderness - spec_.dedup_horizon});
  return newest_fact;
}

Decision Deduplicate::Remember(const Event& event, AppendTime now, const Hint& hint) {
  IdMemory::Entry* entry = ids_.Find(hint.hash, [&](const IdMemory::Entry& e) {
    return spec_.identity == Identity::kDetection || facts_[e.fact].camera == hint.camera;
  });
  auto with_fact = [&](IdMemory::Entry& e, const FactKey& key, EventTime newest, uint32_t guess) {
    e.fact = FactFor(key, newest, guess);
    const int64_t since_base = newest.v - facts_[e.fact].base.v;
    CHECK(0 <= since_base && since_base <= int64_t{UINT32_MAX});
    e.newest = static_cast<uint32_t>(since_base);
  };
  // A forgotten entry is as good as none: this event is a first copy and takes the entry's place.
  if (entry == nullptr || !IsRemembered(*entry, now)) {
    IdMemory::Entry fresh{.hash = hint.hash};
    with_fact(fresh, {hint.camera, hint.item, event.location}, event.time, hint.fact);
    if (entry == nullptr) {
      InsertId(fresh, event.time, now);
    } else {
      *entry = fresh;
      oldest_ = std::min(oldest_, event.time);
    }
    return {
        .outcome = Outcome::kCounted, .camera = hint.camera, .fact = fresh.fact, .item = hint.item};
  }
  // A copy: by value, because with_fact() may add a fact and move the vector.
  const Fact fact = facts_[entry->fact];
  const bool same =
      fact.camera == hint.camera && fact.location == event.location && fact.item == hint.item;
  if (!same) id_conflicts_.Add(cameras_[fact.camera].id, event.camera, event.id);
  const EventTime known = fact.base + Millis{entry->newest};
  // The greatest time counts, not the last copy's: otherwise an old copy that arrives late would
  // shorten the memory.
  EventTime newest = std::max(known, event.time);
  if (Mutated(Mutant::kLastCopy)) newest = event.time;
  if (newest != known) {
    with_fact(*entry, {fact.camera, fact.item, fact.location}, newest, entry->fact);
    oldest_ = std::min(oldest_, newest);
  }
  return {.outcome = Outcome::kDuplicate, .conflict = !same, .camera = hint.camera};
}

void Deduplicate::InsertId(const IdMemory::Entry& fresh, EventTime time, AppendTime now) {
  oldest_ = std::min(oldest_, time);
  // No camera's watermark is ahead of the partition's. While the oldest remembered time is within
  // the horizon of that, nothing can have been forgotten, and a full shard need not check its
  // entries. (The ids of a camera that is silent for camera_ttl are swept once another reason makes
  // sweeping worthwhile.)
  const bool sweep = camera_returned_ || oldest_ < watermark_ - spec_.dedup_horizon;
  ids_.Insert(fresh, [&](const IdMemory::Entry& e) { return !sweep || IsRemembered(e, now); });
}

bool Deduplicate::CompactIfDue() {
  // A look at the cameras costs a pass over the ids, so it is done a few times in a camera_ttl.
  const bool look = spec_.max_age && cameras_.size() >= kCompactMin &&
                    newest_heard_ != kNoAppendTime && newest_heard_ >= look_at_cameras_at_;
  if (!look && facts_.size() < compact_at_ && items_.size() < compact_at_) return false;
  if (look) {
    look_at_cameras_at_ = {newest_heard_.v + spec_.camera_ttl.v / 8};
    ids_.Sweep([this](const IdMemory::Entry& e) { return IsRemembered(e, newest_heard_); });
  }
  CompactFacts();
  if (look) DropSilentCameras();
  return true;
}

// Renumbers the facts and items that remembered ids still use, in the order in which the ids meet
// them, and drops the others.
void Deduplicate::CompactFacts() {
  std::vector<uint32_t> number(facts_.size(), kNone);
  std::vector<Fact> facts;
  ItemNumbers items;
  oldest_ = kAfterAllTime;
  camera_returned_ = false;
  ids_.ForEach([&](IdMemory::Entry& entry) {
    uint32_t& fact = number[entry.fact];
    if (fact == kNone) {
      fact = static_cast<uint32_t>(facts.size());
      facts.push_back(facts_[entry.fact]);
      facts.back().item = items.Intern(items_.name(facts.back().item));
    }
    // Ids that are forgotten but not yet swept keep the sweeping switched on.
    oldest_ = std::min(oldest_, facts[fact].base + Millis{entry.newest});
    camera_returned_ = camera_returned_ || !IsRemembered(entry, newest_heard_);
    entry.fact = fact;
  });
  facts_ = std::move(facts);
  items_ = std::move(items);
  IndexFacts();
  compact_at_ = std::max(kCompactMin, 2 * std::max(facts_.size(), items_.size()));
}

// Drops the cameras that were silent for camera_ttl, after their ids were swept and with them their
// facts. Should one come back, it is as new: MarkHeard() would forget everything of it.
void Deduplicate::DropSilentCameras() {
  std::vector<uint32_t> number(cameras_.size(), kNone);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < cameras_.size(); ++i) {
    if (IsSilent(cameras_[i])) continue;
    number[i] = kept;
    if (HasClocks()) clocks_[kept] = clocks_[i];
    cameras_[kept++] = cameras_[i];
  }
  if (kept == cameras_.size()) return;
  cameras_.resize(kept);
  cameras_.shrink_to_fit();
  if (HasClocks()) {
    clocks_.resize(kept);
    clocks_.shrink_to_fit();
  }
  decltype(camera_index_) index(kept);
  for (uint32_t i = 0; i < kept; ++i) index.emplace(cameras_[i].id, i);
  camera_index_ = std::move(index);
  for (Fact& fact : facts_) {
    fact.camera = number[fact.camera];
    CHECK(fact.camera != kNone);
  }
  IndexFacts();
}

void Deduplicate::IndexFacts() {
  fact_index_.Clear();
  for (uint32_t i = 0; i < facts_.size(); ++i) {
    const Fact& fact = facts_[i];
    const FactKey key{fact.camera, fact.item, fact.location};
    uint32_t& newest =
        fact_index_.At(key.Hash(), [&](uint32_t other) { return Is(facts_[other], key); });
    if (newest == kNone || facts_[newest].base < fact.base) newest = i;
  }
}

// Layout, integers as in base/bytes.h:
//   hash seed (8 bytes)
//   items:   n (string)*
//   cameras: n (id, has greatest, greatest, last_heard, generation, [clock])*
//   watermark
//   [has greatest, greatest]
//   facts:   n (camera, generation, item, location, base)*
//   ids:     n (hash, fact, newest: 16 bytes as in memory, little endian)*, ascending hashes
// What is in brackets is there if HasClocks(); a clock is
//   (is known, is event, id, time, has reference, reference)
void Deduplicate::Save(const std::function<void(std::string_view)>& out) const {
  ByteWriter writer;
  writer.Fixed64(hash_seed_);
  writer.Varint(items_.size());
  for (uint32_t i = 0; i < items_.size(); ++i) writer.String(items_.name(i));
  SaveCameras(writer);
  writer.Varint(facts_.size());
  for (const Fact& fact : facts_) {
    writer.Varint(fact.camera);
    writer.Varint(fact.generation);
    writer.Varint(fact.item);
    writer.Signed(fact.location.v);
    writer.Signed(fact.base.v);
  }
  writer.Varint(static_cast<uint64_t>(ids_.size()));
  ids_.ForEach([&](const IdMemory::Entry& entry) {
    writer.Raw(&entry, sizeof entry);
    // In pieces of about 1 MiB: the ids are far too many to be in memory twice.
    if (writer.size() < 1 << 20) return;
    const std::string piece = writer.Take();
    out(piece);
  });
  out(writer.bytes());
}

void Deduplicate::SaveCameras(ByteWriter& writer) const {
  writer.Varint(cameras_.size());
  for (size_t i = 0; i < cameras_.size(); ++i) {
    const Camera& camera = cameras_[i];
    writer.Signed(camera.id.v);
    WriteTime(writer, camera.greatest);
    writer.Signed(camera.last_heard.v);
    writer.Varint(camera.generation);
    if (!HasClocks()) continue;
    const CameraClock clock = Mutated(Mutant::kLoseClocks) ? CameraClock() : clocks_[i];
    writer.Varint(clock.is_known);
    writer.Varint(clock.is_event);
    writer.Signed(clock.id.v);
    writer.Signed(clock.time.v);
    WriteTime(writer, clock.reference);
  }
  writer.Signed(watermark_.v);
  if (HasClocks()) WriteTime(writer, greatest_);
}

Status Deduplicate::Load(ByteReader& in) {
  CHECK(ids_.size() == 0 && cameras_.empty());
  RETURN_IF_ERROR(LoadTables(in));
  return LoadIds(in);
}

Status Deduplicate::LoadCameras(ByteReader& in) {
  const Status damaged = Status::Stop("the operator state of the checkpoint is damaged");
  for (uint64_t n = in.Varint(); in.ok() && n > 0; --n) {
    Camera camera{.id = {in.Signed()}};
    if (!ReadTime(in, &camera.greatest)) return damaged;
    camera.last_heard = {in.Signed()};
    newest_heard_ = std::max(newest_heard_, camera.last_heard);
    camera.generation = static_cast<uint32_t>(in.Varint());
    if (!camera_index_.try_emplace(camera.id, static_cast<uint32_t>(cameras_.size())).second)
      return damaged;
    cameras_.push_back(camera);
    if (!HasClocks()) continue;
    CameraClock& clock = clocks_.emplace_back();
    clock.is_known = in.Varint() != 0;
    clock.is_event = in.Varint() != 0;
    clock.id = {in.Signed()};
    clock.time = {in.Signed()};
    if (!IsSane(clock.time) || !ReadTime(in, &clock.reference)) return damaged;
  }
  watermark_ = {in.Signed()};
  if (watermark_ != kBeforeAllTime && !IsSane(watermark_)) return damaged;
  if (HasClocks()) return ReadTime(in, &greatest_) ? Status::Ok() : damaged;
  if (watermark_ != kBeforeAllTime) greatest_ = watermark_ + spec_.out_of_orderness;
  return Status::Ok();
}

Status Deduplicate::LoadTables(ByteReader& in) {
  const Status damaged = Status::Stop("the operator state of the checkpoint is damaged");
  hash_seed_ = in.Fixed64();
  for (uint64_t n = in.Varint(); in.ok() && n > 0; --n) items_.Intern(in.String());
  RETURN_IF_ERROR(LoadCameras(in));
  for (uint64_t n = in.Varint(); in.ok() && n > 0; --n) {
    Fact fact;
    fact.camera = static_cast<uint32_t>(in.Varint());
    fact.generation = static_cast<uint32_t>(in.Varint());
    fact.item = static_cast<uint32_t>(in.Varint());
    fact.location = {in.Signed()};
    fact.base = {in.Signed()};
    if (fact.camera >= cameras_.size() || fact.item >= items_.size() || !IsSane(fact.base))
      return damaged;
    facts_.push_back(fact);
  }
  IndexFacts();
  compact_at_ = std::max(kCompactMin, 2 * std::max(facts_.size(), items_.size()));
  return in.ok() ? Status::Ok() : damaged;
}

Status Deduplicate::LoadIds(ByteReader& in) {
  const Status damaged = Status::Stop("the remembered ids of the checkpoint are damaged");
  const uint64_t n = in.Varint();
  if (!in.ok() || n > in.remaining() || in.remaining() != n * sizeof(IdMemory::Entry))
    return damaged;
  // Ids are stored in ascending order of hashes. Without room for all of them, they would fill the
  // shards one after the other and rebuild each many times.
  ids_.Reserve(n);
  for (uint64_t i = 0; i < n; ++i) {
    IdMemory::Entry entry;
    std::memcpy(&entry, in.Raw(sizeof entry).data(), sizeof entry);
    if (entry.fact >= facts_.size()) return damaged;
    const Fact& fact = facts_[entry.fact];
    oldest_ = std::min(oldest_, fact.base + Millis{entry.newest});
    camera_returned_ = camera_returned_ || fact.generation != cameras_[fact.camera].generation;
    ids_.Insert(entry, [](const IdMemory::Entry&) { return true; });
  }
  return Status::Ok();
}

}  // namespace sightline
