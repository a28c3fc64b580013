#include "reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace sightline::sim {
namespace {

int64_t Floor(int64_t time, int64_t size) {
  const int64_t periods = time >= 0 ? time / size : -((-time + size - 1) / size);
  return periods * size;
}

// Judges the elements of a topic one after the other.
class Judgement {
 public:
  explicit Judgement(const PipelineSpec& spec) : spec_(spec) {}

  Verdict Of(const Element& e, int64_t now) {
    if (e.kind == Event::Kind::kMalformed) return {.outcome = Outcome::kMalformed};
    const bool has_clock = now != kNoAppendTime.v;
    int64_t heard = now;
    if (has_clock) {
      steady_ = steady_ && now >= newest_;
      Note(Reach::append_time_back, now < newest_);
      heard = newest_ = std::max(newest_, now);
      Hear(e.camera, heard);
    }
    const std::optional<int64_t> reach = has_clock ? e.time : ReachOf(e);
    const bool heartbeat = e.kind == Event::Kind::kHeartbeat;
    if (has_clock && e.time > now + spec_.future_tolerance.v) {
      Note(Reach::future_heartbeat, heartbeat);
      if (heartbeat) return {};
      return {.outcome = Outcome::kFuture};
    }
    const bool old = has_clock && spec_.max_age && e.time < now - spec_.max_age->v;
    const bool late = IsBehindHorizon(e.camera, e.time);
    if (!heartbeat && (late || old)) {
      Note(Reach::too_late_by_max_age, !late);
      return {.outcome = Outcome::kTooLate};
    }
    return Accept(e, heard, reach);
  }

 private:
  struct Seen {
    Element first;
    int64_t newest = 0;
  };
  using Identity = std::pair<int64_t, int64_t>;

  // How far an element without append time moves its camera's watermark. It looks back through
  // everything that the camera sent: to where the moment began that the element is part of.
  std::optional<int64_t> ReachOf(const Element& e) {
    if (spec_.watermark_step == WatermarkStep::kFree) return e.time;
    std::vector<Element>& sent = sent_[e.camera];
    sent.push_back(e);
    for (size_t i = sent.size() - 1; i > 0; --i) {
      const Element &later = sent[i], &before = sent[i - 1];
      const bool heartbeats =
          later.kind == Event::Kind::kHeartbeat || before.kind == Event::Kind::kHeartbeat;
      if (later.time == before.time || (!heartbeats && later.id == before.id)) continue;
      const int64_t most = before.time + spec_.dedup_horizon.v;
      Note(Reach::watermark_held_back, e.time > most);
      Note(Reach::clock_set_right, e.time < before.time - spec_.dedup_horizon.v);
      Note(Reach::clock_believed,
           i > 1 && e.time <= most && before.time - sent[i - 2].time > spec_.dedup_horizon.v);
      return std::min(e.time, most);
    }
    return std::nullopt;
  }

  // After a silence of camera_ttl, what a camera had sent is forgotten, and so is its watermark
  // while max_age refuses everything that lies before it.
  void Hear(int64_t camera, int64_t now) {
    if (const auto it = heard_.find(camera); it != heard_.end() && IsSilent(camera, now)) {
      std::erase_if(seen_, [&](const auto& s) { return s.second.first.camera == camera; });
      if (spec_.max_age) greatest_.erase(camera);
    }
    heard_[camera] = now;
  }
  bool IsSilent(int64_t camera, int64_t now) const {
    const auto it = heard_.find(camera);
    return it != heard_.end() && now - it->second > spec_.camera_ttl.v;
  }
  bool IsBehindHorizon(int64_t camera, int64_t time) const {
    const auto it = greatest_.find(camera);
    return it != greatest_.end() &&
           time < it->second - spec_.out_of_orderness.v - spec_.dedup_horizon.v;
  }

  Verdict Accept(const Element& e, int64_t now, std::optional<int64_t> reach) {
    const bool by_camera = spec_.identity == sightline::Identity::kCameraAndDetection;
    const Identity identity{by_camera ? e.camera : 0, e.id};
    const bool heartbeat = e.kind == Event::Kind::kHeartbeat;
    const auto it = seen_.find(identity);
    const bool remembered = !heartbeat && it != seen_.end() &&
                            !IsBehindHorizon(it->second.first.camera, it->second.newest) &&
                            (now == kNoAppendTime.v || !IsSilent(it->second.first.camera, now));
    Verdict verdict;
    if (reach) {
      verdict.watermark = *reach - spec_.out_of_orderness.v;
      const auto greatest = greatest_.try_emplace(e.camera, *reach).first;
      greatest->second = std::max(greatest->second, *reach);
    }
    if (heartbeat) return verdict;

    if (remembered) it->second.newest = std::max(it->second.newest, e.time);
    const Element first = remembered ? it->second.first : e;
    if (!remembered) seen_[identity] = {e, e.time};
    if (e.time < spec_.count_from.v || e.time >= spec_.count_until.v) {
      verdict.outcome = Outcome::kOutside;
    } else if (remembered) {
      verdict.outcome = Outcome::kDuplicate;
      verdict.conflict = std::tie(first.camera, first.location, first.item) !=
                         std::tie(e.camera, e.location, e.item);
      Note(Reach::conflict_of_cameras, first.camera != e.camera);
    } else {
      verdict.outcome = Outcome::kCounted;
      CountOnce(e, now);
    }
    return verdict;
  }

  // Checks the promise itself: an exact copy counts twice only after a silence of its camera, and
  // never while max_age is on.
  void CountOnce(const Element& e, int64_t now) {
    Note(Reach::window_before_1970, e.time < 0);
    if (counted_.emplace(e.camera, e.location, e.id, e.time, e.item).second) return;
    if (!steady_) return;  // what is remembered was forgotten when the log's clock was set ahead
    if (spec_.max_age || now == kNoAppendTime.v) throw Violation("reference: a copy counted twice");
    Note(Reach::counted_again_after_ttl);
  }

  const PipelineSpec& spec_;
  int64_t newest_ = INT64_MIN;  // the greatest append time of a readable element so far
  bool steady_ = true;          // append times have never gone back
  std::map<Identity, Seen> seen_;
  // The greatest time up to which each camera's watermark was moved, without out_of_orderness.
  std::map<int64_t, int64_t> greatest_;
  std::map<int64_t, std::vector<Element>> sent_;  // by camera: its elements without append time
  std::map<int64_t, int64_t> heard_;              // newest_ at each camera's last readable element
  std::set<std::tuple<int64_t, int64_t, int64_t, int64_t, std::string>> counted_;
};

Addition AdditionOf(const PipelineSpec& spec, const Message& message, size_t index, Offset offset,
                    const Verdict& verdict, Watermark partition) {
  const Element& e = message.elements[index];
  const int64_t now = message.append_time;
  const AppendTime hour{now == kNoAppendTime.v ? now : Floor(now, 3'600'000)};
  Addition a{.verdict = verdict, .time = e.time};
  a.ledger = e.kind == Event::Kind::kMalformed
                 ? LedgerKey{.known = false, .location = {0}, .camera = {0}, .hour = hour}
                 : LedgerKey{true, {e.location}, {e.camera}, hour};
  if (verdict.outcome == Outcome::kCounted) {
    const int64_t window_end = Floor(e.time, spec.window_size.v) + spec.window_size.v;
    a.count = CountKey{{Floor(e.time, spec.pane_size.v)},
                       {e.location},
                       e.item,
                       partition.v >= window_end ? CountKind::kCorrection : CountKind::kCount};
    Note(Reach::correction, partition.v >= window_end);
  }
  if (verdict.outcome == Outcome::kMalformed || verdict.outcome == Outcome::kFuture ||
      verdict.outcome == Outcome::kTooLate)
    a.dead_letter = DeadLetter{.outcome = *verdict.outcome,
                               .reason = e.reason,
                               .offset = offset,
                               .index = static_cast<int32_t>(index),
                               .append_time = {now},
                               .bytes = e.bytes};
  return a;
}

}  // namespace

std::vector<std::vector<Verdict>> Judge(const PipelineSpec& spec,
                                        const std::vector<Message>& topic) {
  Judgement judgement(spec);
  std::vector<std::vector<Verdict>> verdicts;
  for (const Message& message : topic) {
    verdicts.emplace_back();
    for (const Element& e : message.elements) {
      const Verdict verdict = judgement.Of(e, message.append_time);
      Note(verdict.outcome ? static_cast<Reach>(*verdict.outcome) : Reach::heartbeat);
      Note(Reach::conflict, verdict.conflict);
      verdicts.back().push_back(verdict);
    }
  }
  return verdicts;
}

std::vector<Entry>::const_iterator Log::From(Offset offset) const {
  return std::ranges::lower_bound(entries, offset, {}, &Entry::offset);
}

Segment Log::Expect(Offset first, Offset next) const {
  Segment segment{.first = first, .next = next};
  std::map<CountKey, CountRow> counts;
  std::map<LedgerKey, Ledger> ledger;
  for (auto it = From(first); it != From(next); ++it) {
    for (const Addition& a : it->additions) {
      Ledger& l = ledger[a.ledger];
      if (a.verdict.outcome) {
        ++l.received;
        ++l.outcomes[static_cast<size_t>(*a.verdict.outcome)];
        l.conflicts += a.verdict.conflict;
      } else {
        ++l.heartbeats;
      }
      if (a.dead_letter) segment.dead_letters.push_back(*a.dead_letter);
      if (!a.count) continue;
      CountRow& row =
          counts.try_emplace(*a.count, CountRow{*a.count, 0, {a.time}, {a.time}}).first->second;
      ++row.count;
      row.first_detected = std::min(row.first_detected, EventTime{a.time});
      row.last_detected = std::max(row.last_detected, EventTime{a.time});
    }
  }
  for (const auto& [from, to] : lost)
    if (const Offset a = std::max(first, from), b = std::min(next, to); a < b)
      ledger[{.known = false, .hour = kNoAppendTime}].lost += b.v - a.v;
  for (auto& [key, row] : counts) segment.counts.push_back(std::move(row));
  for (const auto& [key, l] : ledger) segment.ledger.push_back({key, l});
  if (const auto it = From(next); it != entries.begin())
    segment.watermark = std::prev(it)->watermark;
  return segment;
}

Log Without(const Log& log, const Ranges& lost, const PipelineSpec& spec) {
  Log read{.entries = {}, .start = log.start, .end = log.end, .lost = lost};
  std::vector<Message> messages;
  for (const Entry& entry : log.entries) {
    if (std::ranges::any_of(lost, [&](const auto& range) {
          return entry.offset >= range.first && entry.offset < range.second;
        }))
      continue;
    messages.push_back(*entry.message);
    read.entries.push_back({.offset = entry.offset, .message = entry.message});
  }
  const std::vector<std::vector<Verdict>> verdicts = Judge(spec, messages);
  Watermark watermark = kBeforeAllTime;
  for (size_t i = 0; i < messages.size(); ++i) {
    Entry& entry = read.entries[i];
    entry.watermark = watermark;
    for (size_t e = 0; e < verdicts[i].size(); ++e) {
      const Verdict& verdict = verdicts[i][e];
      entry.additions.push_back(
          AdditionOf(spec, *entry.message, e, entry.offset, verdict, entry.watermark));
      if (verdict.watermark) entry.watermark.v = std::max(entry.watermark.v, *verdict.watermark);
    }
    watermark = entry.watermark;
  }
  return read;
}

std::vector<Log> Split(Prng& prng, const PipelineSpec& spec, const std::vector<Message>& topic,
                       const std::vector<std::vector<Verdict>>& verdicts, size_t partitions) {
  std::vector<Log> logs(partitions);
  for (Log& log : logs) log.start = log.end = {prng.OneIn(3) ? prng.Below(50) : 0};
  for (size_t i = 0; i < topic.size(); ++i) {
    Log& log = logs[static_cast<size_t>(topic[i].camera) % partitions];
    Entry entry{.offset = log.end, .message = &topic[i]};
    if (!log.entries.empty()) entry.watermark = log.entries.back().watermark;
    for (size_t e = 0; e < topic[i].elements.size(); ++e) {
      const Verdict& verdict = verdicts[i][e];
      entry.additions.push_back(
          AdditionOf(spec, topic[i], e, entry.offset, verdict, entry.watermark));
      if (verdict.watermark) entry.watermark.v = std::max(entry.watermark.v, *verdict.watermark);
    }
    log.entries.push_back(std::move(entry));
    const int64_t hole = prng.OneIn(6) ? 1 + prng.Below(2) : 0;  // like transaction markers
    Note(Reach::hole, hole);
    log.end.v += 1 + hole;
  }
  return logs;
}

void MustEqual(const Segment& segment, const Segment& expected) {
  auto differs = [&](const char* what) {
    throw Violation(fmt::format("segment [{}, {}): {} differ from the reference", segment.first.v,
                                segment.next.v, what));
  };
  if (segment.first != expected.first || segment.next != expected.next) differs("the offsets");
  if (segment.counts != expected.counts) differs("counts");
  if (segment.ledger != expected.ledger) differs("ledgers");
  if (segment.dead_letters != expected.dead_letters) differs("dead letters");
  if (segment.watermark != expected.watermark) differs("watermarks");
}

}  // namespace sightline::sim
