#include "doctor/copies.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <optional>
#include <set>
#include <utility>

#include "doctor/wording.h"

namespace sightline {
namespace {

using Row = Sample::Row;
constexpr size_t kCopyExamples = 2;
// What is seen again after a longer pause, and as something else, is another item with the same id.
constexpr Millis kPause = kMinute;
constexpr int64_t kRestartsMin = 3;
constexpr int64_t kSharedMin = 3;
constexpr Millis kHorizonMax{40 * 86'400'000LL};
// Beyond it, watermarks would hold back windows for longer than a late detection is worth.
constexpr Millis kOrdernessMax{10 * 60'000};

// A row that has the identity of one before it.
struct Copy {
  uint32_t row = 0, first = 0;  // `first`: of the item that the id was given to last
  Millis pause;                 // since the newest time of the copies before; negative: before it
  // By how much the camera's watermark had passed that time, without out_of_orderness.
  Millis distance;
  bool is_same = false;   // in camera, location and item
  bool is_again = false;  // of is_same: in the time, too
};

class Copies {
 public:
  Copies(const Sample& sample, const std::vector<bool>& is_wrong)
      : sample_(sample), rows_(sample.rows()), is_wrong_(is_wrong) {
    result_.dedup_horizon = defaults_.dedup_horizon;
  }

  CopyFindings Look() && {
    ChooseIdentity();
    Collect();
    const std::optional<Millis> restart = FindRestarts();
    ReportKinds();
    ReportDisorder();
    ChooseHorizon(restart);
    return std::move(result_);
  }

 private:
  // What an id looks like over all cameras.
  struct IdUse {
    uint32_t first = 0;
    bool is_shared = false, differs = false;
  };

  std::string Says(uint32_t row) const {
    const Row& r = rows_[row];
    return fmt::format("{}: camera {}, location {}, id {}, {}, time {}",
                       PlaceText(r.partition, r.place), CameraOf(r), r.location.v, r.id.v,
                       sample_.items()[r.item].name, r.time.v);
  }
  int64_t CameraOf(const Row& row) const { return sample_.cameras()[row.camera].id.v; }
  void Add(Finding finding) { result_.findings.push_back(std::move(finding)); }

  // Whether each camera numbers its detections from a small number on.
  bool AreNumberedByCamera() const {
    struct Numbers {
      std::set<int64_t> some;  // enough to compare
      int64_t detections = 0, greatest = 0, least = INT64_MAX;
    };
    std::vector<Numbers> cameras(sample_.cameras().size());
    for (const Row& row : rows_) {
      Numbers& of = cameras[row.camera];
      ++of.detections;
      of.greatest = std::max(of.greatest, row.id.v);
      of.least = std::min(of.least, row.id.v);
    }
    return std::ranges::all_of(cameras, [](const Numbers& of) {
      return of.detections == 0 || (of.least >= 0 && of.greatest <= 1'000 + 10 * of.detections);
    });
  }

  void ChooseIdentity() {
    boost::unordered_flat_map<int64_t, IdUse> ids;
    int64_t shared = 0, differing = 0;
    std::vector<std::string> examples;
    for (uint32_t i = 0; i < rows_.size(); ++i) {
      const auto [it, is_new] = ids.try_emplace(rows_[i].id.v, IdUse{.first = i});
      const Row& first = rows_[it->second.first];
      if (is_new || first.camera == rows_[i].camera) continue;
      shared += !std::exchange(it->second.is_shared, true);
      if (first.item != rows_[i].item) differing += !std::exchange(it->second.differs, true);
      if (examples.empty()) examples = {Says(it->second.first), Says(i)};
    }
    if (shared < kSharedMin) return;
    const bool is_certain = AreNumberedByCamera() || differing * 5 >= shared;
    if (is_certain) result_.identity = Identity::kCameraAndDetection;
    Add({.severity = Severity::kTrouble,
         .subject = "identity",
         .seen =
             fmt::format("{} of {} ids come from several cameras, {} of them as different items",
                         shared, ids.size(), differing),
         .follows = is_certain
                        ? "Each camera has ids of its own. By detection_oid alone, they would "
                          "be dropped as duplicates of other cameras' detections."
                        : "They are counted once, where they were seen first. If they are "
                          "different detections, let the camera be part of their identity.",
         .examples = std::move(examples),
         .settings = {
             {.key = "pipeline.identity",
              .value = "camera_and_detection",
              .why = fmt::format("{} of {} ids come from several cameras.", shared, ids.size()),
              .is_suggestion = !is_certain}}});
  }

  // Goes through the rows as the engine will.
  void Collect() {
    struct Known {
      uint32_t first = 0;
      EventTime newest;
    };
    boost::unordered_flat_map<std::pair<int64_t, int64_t>, Known> ids;
    std::vector<EventTime> greatest(sample_.cameras().size(), kBeforeAllTime);
    const bool by_camera = result_.identity == Identity::kCameraAndDetection;
    for (uint32_t i = 0; i < rows_.size(); ++i) {
      if (is_wrong_[i]) continue;
      const Row& row = rows_[i];
      ++result_.detections;
      const auto [it, is_new] =
          ids.try_emplace({row.id.v, by_camera ? row.camera : -1}, Known{i, row.time});
      Known& known = it->second;
      bool is_exact = false;
      if (!is_new) {
        const Row& first = rows_[known.first];
        const bool is_same =
            first.camera == row.camera && first.location == row.location && first.item == row.item;
        const Copy& copy =
            copies_.emplace_back(Copy{.row = i,
                                      .first = known.first,
                                      .pause = row.time - known.newest,
                                      .distance = greatest[first.camera] - known.newest,
                                      .is_same = is_same,
                                      .is_again = is_same && row.time <= known.newest});
        is_exact = copy.is_again;
        if (!is_same && copy.pause >= kPause) known = {i, row.time};
        known.newest = std::max(known.newest, row.time);
      }
      EventTime& reached = greatest[row.camera];
      if (!is_exact && reached != kBeforeAllTime && row.time < reached)
        behind_.push_back({reached - row.time, i});
      reached = std::max(reached, row.time);
    }
  }

  // The smallest distance at which ids begin again, if they do.
  std::optional<Millis> FindRestarts() {
    const auto is_candidate = [&](const Copy& copy) {
      return !copy.is_same && copy.pause >= kPause &&
             rows_[copy.row].camera == rows_[copy.first].camera;
    };
    Millis least = kHorizonMax;
    int64_t candidates = 0;
    for (const Copy& copy : copies_)
      if (is_candidate(copy)) {
        least = std::min(least, copy.pause);
        ++candidates;
      }
    Millis pause_of_copies = kSecond;
    for (const Copy& copy : copies_)
      if (copy.pause < least) pause_of_copies = std::max(pause_of_copies, copy.pause);
    if (candidates < kRestartsMin || 4 * pause_of_copies.v > least.v) return std::nullopt;
    const auto is_restart = [&](const Copy& copy) {
      return copy.pause >= least && rows_[copy.row].camera == rows_[copy.first].camera;
    };
    Millis distance = kHorizonMax;
    std::set<uint32_t> cameras;
    std::vector<std::string> examples;
    for (const Copy& copy : copies_) {
      if (!is_restart(copy)) continue;
      distance = std::min(distance, copy.distance);
      cameras.insert(rows_[copy.row].camera);
      if (examples.empty() && is_candidate(copy)) examples = {Says(copy.first), Says(copy.row)};
    }
    const size_t restarts = std::erase_if(copies_, is_restart);
    Add({.severity = Severity::kTrouble,
         .subject = "restarted_ids",
         .seen =
             fmt::format("{} ids of {} cameras return for another item, after {} or more; "
                         "copies of one item follow within {}",
                         restarts, cameras.size(), AboutText(least), AboutText(pause_of_copies)),
         .follows =
             "A tracker has started to number again. While an id is remembered, another item "
             "with it is dropped as a duplicate. It is best to let a tracker go on with its "
             "numbers, or to send UUIDs.",
         .examples = std::move(examples)});
    return distance;
  }

  void ReportKinds() {
    int64_t again = 0, later = 0, conflicts = 0;
    std::vector<std::string> examples;
    for (const Copy& copy : copies_) {
      again += copy.is_again;
      later += copy.is_same && !copy.is_again;
      if (copy.is_same) continue;
      if (rows_[copy.row].camera != rows_[copy.first].camera && ToldAsShared()) continue;
      ++conflicts;
      if (examples.size() < 2 * kCopyExamples) {
        examples.push_back(Says(copy.first));
        examples.push_back(Says(copy.row));
      }
    }
    result_.copies = static_cast<int64_t>(copies_.size());
    if (again + later > 0)
      Add({.subject = "copies",
           .seen =
               fmt::format("of {} detections, {} are copies: {} exact ones, {} of the same item "
                           "at another time",
                           result_.detections, again + later, again, later),
           .follows = "They are counted once, at the time of the first one."});
    if (conflicts > 0)
      Add({.severity = Severity::kTrouble,
           .subject = "conflicts",
           .seen = fmt::format("{} detections have the id of one before them, but another camera, "
                               "location or item",
                               conflicts),
           .follows =
               "The first one counts, the others are duplicates (`conflict`). If the detector "
               "changes its mind, that is right. If they are different items, their ids must "
               "differ.",
           .examples = std::move(examples)});
  }
  bool ToldAsShared() const {
    return std::ranges::any_of(result_.findings,
                               [](const Finding& f) { return f.subject == "identity"; });
  }

  // By how much a camera's detections lie behind its newest one.
  void ReportDisorder() {
    if (behind_.empty()) return;
    std::vector<std::vector<Millis>> of_camera(sample_.cameras().size());
    for (const auto& [length, row] : behind_) of_camera[rows_[row].camera].push_back(length);
    Millis usual{0};
    size_t worst = 0;
    for (size_t c = 0; c < of_camera.size(); ++c) {
      // The 99th percentile over all detections: those in order have zero.
      const auto apart = static_cast<size_t>(sample_.cameras()[c].detections / 100);
      if (of_camera[c].size() <= apart) continue;
      const auto at = of_camera[c].end() - 1 - static_cast<ptrdiff_t>(apart);
      std::ranges::nth_element(of_camera[c], at);
      if (*at > usual) {
        usual = *at;
        worst = c;
      }
    }
    const auto most =
        std::ranges::max_element(behind_, {}, [](const auto& behind) { return behind.first; });
    Finding finding{
        .subject = "disorder",
        .seen = fmt::format("{} detections are older than one of their camera before them, at most "
                            "by {}. Of camera {}, 99 % are at most {} behind",
                            behind_.size(), AboutText(most->first), sample_.cameras()[worst].id.v,
                            AboutText(usual)),
        .examples = {Says(most->second)}};
    if (usual > defaults_.out_of_orderness) {
      orderness_ = std::min(RoundedUp(usual), kOrdernessMax);
      finding.follows =
          "They count all the same. A longer out_of_orderness keeps a window from "
          "being called complete before they are there.";
      finding.settings = {{.key = "pipeline.out_of_orderness",
                           .value = DurationText(orderness_),
                           .why = fmt::format("99 % of a camera's detections are at most {} behind "
                                              "its newest one.",
                                              AboutText(usual))}};
    }
    late_by_ = most->first;
    Add(std::move(finding));
  }

  // `restart`: the smallest distance at which ids begin again.
  void ChooseHorizon(std::optional<Millis> restart) {
    Millis apart{0};
    for (const Copy& copy : copies_) apart = std::max(apart, copy.distance);
    const Millis needed{std::max<int64_t>(0, std::max(apart, late_by_).v - orderness_.v)};
    const Millis most{(kHorizonMax.v - orderness_.v) / kHour.v * kHour.v};
    const Millis limit{restart ? restart->v - orderness_.v : most.v};
    Finding finding{
        .severity = Severity::kTrouble,
        .subject = "dedup_horizon",
        .seen = fmt::format(
            "copies lie up to {} apart, and detections come up to {} late{}", AboutText(apart),
            AboutText(late_by_),
            restart ? fmt::format("; ids begin again after {}", AboutText(*restart)) : "")};
    if (needed >= limit) {
      finding.follows = restart ? "No horizon tells copies from other items with the same id: the "
                                  "sender must give other ids."
                                : fmt::format(
                                      "At most {} can be remembered: what lies further "
                                      "apart is too late.",
                                      AboutText(most));
      return Add(std::move(finding));
    }
    Millis& fit = result_.dedup_horizon;
    fit = std::clamp(RoundedUp(Millis{2 * needed.v}), defaults_.dedup_horizon, most);
    if (fit >= limit) fit = WholeSeconds((needed.v + limit.v) / 2);
    if (fit == defaults_.dedup_horizon) return;
    // Twice what was seen is room, and no trouble as long as the default suffices.
    if (fit > defaults_.dedup_horizon && needed <= defaults_.dedup_horizon)
      finding.severity = Severity::kNote;
    finding.follows = fit < defaults_.dedup_horizon
                          ? "A shorter horizon forgets an id before it begins again."
                          : "With a shorter horizon they are too late, or count again.";
    finding.settings = {{.key = "pipeline.dedup_horizon",
                         .value = DurationText(fit),
                         .why = fmt::format("In the sample, {}.", finding.seen)}};
    Add(std::move(finding));
  }
  static Millis WholeSeconds(int64_t ms) { return {ms / 1'000 * 1'000}; }

  const PipelineSpec defaults_;
  const Sample& sample_;
  const std::vector<Row>& rows_;
  const std::vector<bool>& is_wrong_;
  CopyFindings result_;
  std::vector<Copy> copies_;
  std::vector<std::pair<Millis, uint32_t>> behind_;  // and the row
  Millis orderness_{10'000};                         // that fits
  Millis late_by_{0};
};

}  // namespace

CopyFindings LookAtCopies(const Sample& sample, const std::vector<bool>& is_wrong) {
  return Copies(sample, is_wrong).Look();
}

}  // namespace sightline
