#include "operators/deduplicate.h"

#include <algorithm>

#include "base/check.h"
#include "base/mutant.h"

namespace sightline {

uint32_t ItemNames::Intern(std::string_view name) {
  if (const auto it = index_.find(name); it != index_.end()) return it->second;
  const auto item = static_cast<uint32_t>(names_.size());
  index_.emplace(names_.emplace_back(name), item);
  return item;
}

void ItemNames::Clear() {
  index_.clear();
  names_.clear();
}

// The first rule that matches decides, in the order of the table in docs/SEMANTICS.md.
Decision Deduplicate::Decide(const Event& event, AppendTime now) {
  if (event.kind == Event::Kind::kMalformed) return {.outcome = Outcome::kMalformed};
  const uint32_t index = CameraOf(event.camera);
  Camera& camera = cameras_[index];
  const bool has_clock = now != kNoAppendTime;
  if (has_clock) Hear(camera, now);
  const bool future = has_clock && event.time > ToEventTime(now) + spec_.future_tolerance;
  if (event.kind == Event::Kind::kHeartbeat) {
    if (!future) Advance(camera, event.time);  // a heartbeat's clock can be wrong, too
    return {};
  }
  if (future) return {.outcome = Outcome::kFuture};
  if (IsTooLate(event, camera, now)) return {.outcome = Outcome::kTooLate};
  const bool outside = event.time < spec_.count_from || event.time >= spec_.count_until;
  Decision decision = Remember(event, index, now);
  Advance(cameras_[index], event.time);
  if (outside) return {.outcome = Outcome::kOutside};
  return decision;
}

void Deduplicate::BeginBatch() {
  if (Mutated(Mutant::kBatchWatermark))
    for (Camera& camera : cameras_) camera.frozen = WatermarkOf(camera);
}

uint64_t Deduplicate::HashOf(const Event& event) const {
  const auto id = static_cast<uint64_t>(event.id.v);
  if (spec_.identity == Identity::kDetection) return HashId(id);
  // For one camera a bijection of the id; which camera it is, the entry's fact says.
  return HashId(id + HashId(static_cast<uint64_t>(event.camera.v)));
}

uint32_t Deduplicate::CameraOf(CameraId id) {
  const auto [it, is_new] = camera_index_.try_emplace(id, static_cast<uint32_t>(cameras_.size()));
  if (is_new) cameras_.push_back({.id = id});
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

void Deduplicate::Hear(Camera& camera, AppendTime now) {
  if (camera.last_heard != kNoAppendTime && now - camera.last_heard > spec_.camera_ttl) {
    ++camera.life;  // what it had said is forgotten; its watermark stays
    camera.slot = kNone;
  }
  camera.last_heard = now;
}

void Deduplicate::Advance(Camera& camera, EventTime time) {
  if (!camera.greatest || time > *camera.greatest) camera.greatest = time;
  watermark_ = std::max(watermark_, WatermarkOf(camera));
}

EventTime Deduplicate::NewestOf(const IdMemory::Entry& entry) const {
  return {slots_[facts_[entry.fact].slot].base.v + entry.newest};
}

// With the same inequality that IsTooLate refuses with: no copy falls between the two.
bool Deduplicate::IsRemembered(const IdMemory::Entry& entry, AppendTime now) const {
  const Slot& slot = slots_[facts_[entry.fact].slot];
  const Camera& camera = cameras_[slot.camera];
  if (slot.life != camera.life) return false;
  if (now != kNoAppendTime && camera.last_heard != kNoAppendTime &&
      now - camera.last_heard > spec_.camera_ttl)
    return false;
  return slot.base.v + entry.newest >= (WatermarkOf(camera) - spec_.dedup_horizon).v;
}

Decision Deduplicate::Remember(const Event& event, uint32_t camera, AppendTime now) {
  const uint32_t item = items_.Intern(event.item);
  const uint64_t hash = HashOf(event);
  IdMemory::Entry* entry = ids_.Find(hash, [&](const IdMemory::Entry& e) {
    return spec_.identity == Identity::kDetection || slots_[facts_[e.fact].slot].camera == camera;
  });
  if (entry == nullptr) {
    IdMemory::Entry fresh{.hash = hash};
    SetFact(fresh, camera, event.location, item, event.time);
    ids_.Insert(
        fresh, [&](const IdMemory::Entry& e) { return IsRemembered(e, now); },
        [&](const IdMemory::Entry& e) { ReleaseFact(e.fact); });
    return {.outcome = Outcome::kCounted, .item = item};
  }
  const uint32_t old = entry->fact;
  if (!IsRemembered(*entry, now)) {
    SetFact(*entry, camera, event.location, item, event.time);
    ReleaseFact(old);
    return {.outcome = Outcome::kCounted, .item = item};
  }
  const Fact fact = facts_[old];
  const uint32_t first_camera = slots_[fact.slot].camera;
  const bool same = first_camera == camera && fact.location == event.location && fact.item == item;
  EventTime newest = std::max(NewestOf(*entry), event.time);
  if (Mutated(Mutant::kLastCopy)) newest = event.time;
  const int64_t after_base = newest.v - slots_[fact.slot].base.v;
  if (after_base >= 0 && after_base < int64_t{UINT32_MAX}) {
    entry->newest = static_cast<uint32_t>(after_base);
  } else {
    SetFact(*entry, first_camera, fact.location, fact.item, newest);
    ReleaseFact(old);
  }
  return {.outcome = Outcome::kDuplicate, .conflict = !same};
}

void Deduplicate::SetFact(IdMemory::Entry& entry, uint32_t camera, LocationId location,
                          uint32_t item, EventTime newest) {
  const uint32_t slot = SlotFor(camera, newest);
  entry.fact = AddFact({.slot = slot, .item = item, .location = location});
  entry.newest = static_cast<uint32_t>(newest.v - slots_[slot].base.v);
}

uint32_t Deduplicate::SlotFor(uint32_t camera, EventTime newest) {
  auto fits = [&](const Slot& slot) {
    const int64_t after_base = newest.v - slot.base.v;
    return after_base >= 0 && after_base < int64_t{UINT32_MAX};
  };
  const uint32_t current = cameras_[camera].slot;
  if (current != kNone && slots_[current].facts > 0 && slots_[current].camera == camera &&
      slots_[current].life == cameras_[camera].life && fits(slots_[current]))
    return current;
  // Everything that this camera is still accepted with lies behind the base.
  const EventTime base = newest - spec_.out_of_orderness - spec_.dedup_horizon;
  uint32_t slot = static_cast<uint32_t>(slots_.size());
  if (free_slots_.empty()) {
    slots_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  slots_[slot] = {.camera = camera, .life = cameras_[camera].life, .base = base};
  cameras_[camera].slot = slot;
  return slot;
}

uint32_t Deduplicate::AddFact(const FactKey& key) {
  const auto [it, is_new] = fact_index_.try_emplace(key, kNone);
  if (is_new) {
    it->second = static_cast<uint32_t>(facts_.size());
    if (free_facts_.empty()) {
      facts_.emplace_back();
    } else {
      it->second = free_facts_.back();
      free_facts_.pop_back();
    }
    facts_[it->second] = {.slot = key.slot, .item = key.item, .location = key.location};
    ++slots_[key.slot].facts;
  }
  ++facts_[it->second].ids;
  return it->second;
}

void Deduplicate::ReleaseFact(uint32_t index) {
  Fact& fact = facts_[index];
  CHECK(fact.ids > 0);
  if (--fact.ids > 0) return;
  fact_index_.erase(FactKey{.slot = fact.slot, .item = fact.item, .location = fact.location});
  free_facts_.push_back(index);
  if (--slots_[fact.slot].facts == 0) free_slots_.push_back(fact.slot);
}

void Deduplicate::CompactItems() {
  ItemNames live;
  fact_index_.clear();
  for (uint32_t i = 0; i < facts_.size(); ++i) {
    Fact& fact = facts_[i];
    if (fact.ids == 0) continue;
    fact.item = live.Intern(items_.name(fact.item));
    fact_index_.emplace(FactKey{.slot = fact.slot, .item = fact.item, .location = fact.location},
                        i);
  }
  items_ = std::move(live);
}

// Layout, integers as in base/bytes.h:
//   items:   n (string)*
//   cameras: n (id, has greatest, greatest, last_heard, life)*
//   slots:   n (camera, life, base)*            free ones too: numbers stay
//   facts:   n (slot, item, location)*          free ones too
//   ids:     n (hash, fact, newest: 16 bytes as in memory, little endian)*, ascending hashes
void Deduplicate::Save(const std::function<void(std::string_view)>& out) const {
  ByteWriter writer;
  writer.Varint(items_.size());
  for (uint32_t i = 0; i < items_.size(); ++i) writer.String(items_.name(i));
  writer.Varint(cameras_.size());
  for (const Camera& camera : cameras_) {
    writer.Signed(camera.id.v);
    writer.Varint(camera.greatest.has_value());
    writer.Signed(camera.greatest.value_or(EventTime{}).v);
    writer.Signed(camera.last_heard.v);
    writer.Varint(camera.life);
  }
  writer.Signed(watermark_.v);
  writer.Varint(slots_.size());
  for (const Slot& slot : slots_) {
    writer.Varint(slot.camera);
    writer.Varint(slot.life);
    writer.Signed(slot.base.v);
  }
  writer.Varint(facts_.size());
  for (const Fact& fact : facts_) {
    writer.Varint(fact.slot);
    writer.Varint(fact.item);
    writer.Signed(fact.location.v);
  }
  writer.Varint(static_cast<uint64_t>(ids_.size()));
  ids_.ForEach([&](const IdMemory::Entry& entry) {
    writer.Raw(&entry, sizeof entry);
    if (writer.size() >= 1 << 20) out(writer.Take());
  });
  out(writer.bytes());
}

Status Deduplicate::Load(ByteReader& in) {
  CHECK(ids_.size() == 0 && cameras_.empty());
  RETURN_IF_ERROR(LoadTables(in));
  return LoadIds(in);
}

Status Deduplicate::LoadTables(ByteReader& in) {
  const Status damaged = Status::Stop("the operator state of the checkpoint is damaged");
  for (uint64_t n = in.Varint(); in.ok() && n > 0; --n) items_.Intern(in.String());
  for (uint64_t n = in.Varint(); in.ok() && n > 0; --n) {
    Camera camera{.id = {in.Signed()}};
    const bool has_greatest = in.Varint() != 0;
    const EventTime greatest{in.Signed()};
    if (has_greatest) {
      if (greatest < kFirstEventTime || greatest > kLastEventTime) return damaged;
      camera.greatest = greatest;
    }
    camera.last_heard = {in.Signed()};
    camera.life = static_cast<uint32_t>(in.Varint());
    if (!camera_index_.try_emplace(camera.id, static_cast<uint32_t>(cameras_.size())).second)
      return damaged;
    cameras_.push_back(camera);
  }
  watermark_ = {in.Signed()};
  if (watermark_ < kBeforeAllTime || watermark_ > kLastEventTime) return damaged;
  for (uint64_t n = in.Varint(); in.ok() && n > 0; --n) {
    Slot slot{.camera = static_cast<uint32_t>(in.Varint()),
              .life = static_cast<uint32_t>(in.Varint())};
    slot.base = {in.Signed()};
    const bool sane = slot.base > kBeforeAllTime && slot.base < kAfterAllTime;
    if (slot.camera >= cameras_.size() || !sane) return damaged;
    slots_.push_back(slot);
  }
  for (uint64_t n = in.Varint(); in.ok() && n > 0; --n) {
    Fact fact{.slot = static_cast<uint32_t>(in.Varint()),
              .item = static_cast<uint32_t>(in.Varint())};
    fact.location = {in.Signed()};
    if (fact.slot >= slots_.size() || fact.item >= items_.size()) return damaged;
    facts_.push_back(fact);
  }
  return in.ok() ? Status::Ok() : damaged;
}

Status Deduplicate::LoadIds(ByteReader& in) {
  const Status damaged = Status::Stop("the remembered ids of the checkpoint are damaged");
  const uint64_t n = in.Varint();
  if (!in.ok() || in.remaining() != n * sizeof(IdMemory::Entry) || n > in.remaining())
    return damaged;
  for (uint64_t i = 0; i < n; ++i) {
    IdMemory::Entry entry;
    std::memcpy(&entry, in.Raw(sizeof entry).data(), sizeof entry);
    if (entry.fact >= facts_.size()) return damaged;
    Fact& fact = facts_[entry.fact];
    if (fact.ids++ == 0) ++slots_[fact.slot].facts;
    ids_.Insert(
        entry, [](const IdMemory::Entry&) { return true; }, [](const IdMemory::Entry&) {});
  }
  for (uint32_t i = 0; i < facts_.size(); ++i) {
    const Fact& fact = facts_[i];
    if (fact.ids == 0) {
      free_facts_.push_back(i);
    } else if (!fact_index_
                    .emplace(
                        FactKey{.slot = fact.slot, .item = fact.item, .location = fact.location}, i)
                    .second) {
      return damaged;
    }
  }
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].facts == 0) {
      free_slots_.push_back(i);
    } else if (Camera& camera = cameras_[slots_[i].camera]; slots_[i].life == camera.life) {
      camera.slot = i;
    }
  }
  return Status::Ok();
}

}  // namespace sightline
