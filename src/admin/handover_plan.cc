#include "admin/handover_plan.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "config/options.h"

namespace sightline {
namespace {

using enum HandoverCheck::Verdict;

std::string TimeText(AppendTime time) { return sightline::TimeText(EventTime{time.v}); }
// To the second, as people read it.
std::string Length(int64_t ms) {
  return ms < 10'000 ? fmt::format("{} ms", ms) : fmt::format("{} s", ms / 1'000);
}

class Planner {
 public:
  explicit Planner(const HandoverFacts& facts) : f_(facts) {}

  HandoverPlan Make() {
    CheckTime();
    CheckCountUntil();
    CheckCounted();
    CheckWatermark();
    CheckRetention();
    CheckAge();
    CheckTarget();
    CheckBegun();
    Measure();
    Recommend();
    return std::move(plan_);
  }

 private:
  void Add(HandoverCheck::Verdict verdict, const char* subject, std::string said) {
    plan_.checks.push_back({verdict, subject, std::move(said)});
  }
  bool live() const { return !f_.embedded && !f_.until_end; }
  Watermark watermark() const {
    Watermark newest = kBeforeAllTime;
    for (const HandoverPartition& p : f_.partitions) newest = std::max(newest, p.watermark);
    return newest;
  }

  void CheckTime() {
    const EventTime start = WindowStart(f_.at, f_.pipeline.window_size);
    if (start == f_.at) return Add(kOk, "time", fmt::format("{} begins a window", TimeText(f_.at)));
    Add(kFailed, "time",
        fmt::format("{} lies inside a window of pipeline.window_size, which would have two halves: "
                    "take {} or {}",
                    TimeText(f_.at), TimeText(start), TimeText(start + f_.pipeline.window_size)));
  }

  void CheckCountUntil() {
    const std::string option = fmt::format("--pipeline.count_until {}", TimeText(f_.at));
    if (f_.count_until == f_.at)
      return Add(kOk, "count_until",
                 fmt::format("the old pipeline counts until {}", TimeText(f_.at)));
    if (f_.count_until) {
      const bool early = live() && watermark() < std::min(f_.at, *f_.count_until);
      const std::string now = *f_.count_until == kAfterAllTime
                                  ? "without an end"
                                  : "until " + TimeText(*f_.count_until);
      const char* const what = f_.at < *f_.count_until
                                   ? "what comes from T on would count twice"
                                   : "what lies between that and T would count nowhere";
      return Add(
          early ? kWarning : kFailed, "count_until",
          fmt::format("the old pipeline counts {}: {}; start it with {}{}", now, what, option,
                      early ? " before that time" : ", which must lie ahead of its events"));
    }
    Add(kWarning, "count_until",
        fmt::format(
            "it is not known whether the old pipeline counts until {}{}: it must run with {}",
            TimeText(f_.at),
            f_.other_settings ? " (it has other settings than those given here: give its "
                                "--config)"
                              : "",
            option));
  }

  void CheckCounted() {
    int64_t left = 0;
    for (size_t p = 0; p < f_.partitions.size(); ++p) {
      const HandoverPartition& partition = f_.partitions[p];
      left +=
          std::max<int64_t>(0, partition.end.v - partition.counted.value_or(partition.earliest).v);
      if (!partition.lacking.empty())
        Add(kFailed, "counted",
            fmt::format("partition {}: {}: start the old pipeline once more, and end it with "
                        "SIGTERM",
                        p, partition.lacking));
    }
    if (left == 0) return Add(kOk, "counted", "the old pipeline has counted all there is");
    const bool must = f_.embedded;
    Add(must ? kFailed : kWarning, "counted",
        fmt::format(
            "the old pipeline has not counted {} records: {}", left,
            must ? "start it once more, and end it with SIGTERM" : "keep it running until it has"));
  }

  void CheckWatermark() {
    const Watermark newest = watermark();
    const EventTime safe = f_.at + f_.pipeline.dedup_horizon;
    if (newest < f_.at) {
      const std::string missing =
          newest == kBeforeAllTime
              ? "it has none"
              : fmt::format("it is at {}, {} before", TimeText(newest), Length((f_.at - newest).v));
      return Add(
          live() ? kWarning : kFailed, "watermark",
          fmt::format(
              "the old pipeline's watermark is not past {}: {}; {}", TimeText(f_.at), missing,
              live() ? "it must go on until it is" : "let it run until then, and come again"));
    }
    if (newest >= safe)
      return Add(kOk, "watermark",
                 fmt::format("at {}: what is older than {} would be too late in any case",
                             TimeText(newest), TimeText(f_.at)));
    Add(live() ? kOk : kWarning, "watermark",
        fmt::format("at {}: an event of before {} that comes later than now, as far as {} late, {}",
                    TimeText(newest), TimeText(f_.at), FormatDuration(f_.pipeline.dedup_horizon),
                    live() ? "is still counted by the old pipeline"
                           : fmt::format("is counted by neither pipeline; wait until the watermark "
                                         "is at {} to lose none",
                                         TimeText(safe))));
  }

  void CheckRetention() {
    const AppendTime start = HandoverStart(f_.at, f_.pipeline);
    AppendTime oldest = kNoAppendTime;
    bool whole = true;
    for (size_t p = 0; p < f_.partitions.size(); ++p) {
      const HandoverPartition& partition = f_.partitions[p];
      if (partition.oldest != kNoAppendTime &&
          (oldest == kNoAppendTime || partition.oldest < oldest))
        oldest = partition.oldest;
      if (partition.earliest.v == 0 ||
          (partition.oldest != kNoAppendTime && partition.oldest <= start))
        continue;
      whole = false;
      Add(kFailed, "retention",
          partition.oldest == kNoAppendTime
              ? fmt::format("partition {} is empty and was not: what it had since {} is gone", p,
                            TimeText(start))
              : fmt::format("partition {} has records since {} only, not since {}: take a later "
                            "time, and a longer retention",
                            p, TimeText(partition.oldest), TimeText(start)));
    }
    if (!f_.from_log_append_time)
      Add(kWarning, "retention",
          "the topic has the senders' times: since when it has records is not known");
    if (whole)
      Add(kOk, "retention",
          fmt::format("{} has everything since {}{}", f_.from, TimeText(start),
                      oldest == kNoAppendTime ? "" : ", the oldest is of " + TimeText(oldest)));
  }

  // A copy has the append time of its copying, which `max_age` is measured against.
  void CheckAge() {
    if (!f_.pipeline.max_age) return;
    const int64_t age_ms = f_.now_ms - f_.at.v;
    if (age_ms < f_.pipeline.max_age->v) return;
    Add(kFailed, "age",
        fmt::format("{} is {} ago: copies of that time would be too late (pipeline.max_age {})",
                    TimeText(f_.at), FormatDuration({age_ms}),
                    FormatDuration(*f_.pipeline.max_age)));
  }

  void CheckTarget() {
    const auto apply = [&] {
      return fmt::format("`sightline topics apply --kafka.topic {} --kafka.partitions {}`", f_.to,
                         std::max<size_t>(f_.partitions.size(), f_.to_partitions));
    };
    if (!f_.to_exists)
      return Add(kFailed, "topic",
                 fmt::format("there is no topic '{}': make it with {}", f_.to, apply()));
    bool good = true;
    const auto fail = [&](std::string said) {
      good = false;
      Add(kFailed, "topic", fmt::format("'{}' {}", f_.to, said));
    };
    if (f_.to_compacted) fail("is compacted and would keep one detection a camera: " + apply());
    if (!f_.to_log_append_time)
      fail("has the senders' times; set message.timestamp.type=LogAppendTime: " + apply());
    if (f_.to_partitions < static_cast<int32_t>(f_.partitions.size()))
      fail(fmt::format("has {} partitions, fewer than the {} of {}: make another one",
                       f_.to_partitions, f_.partitions.size(), f_.from));
    if (good)
      Add(kOk, "topic",
          fmt::format("'{}' has {} partitions and the broker's times", f_.to, f_.to_partitions));
  }

  void CheckBegun() {
    if (!f_.to_exists) return;
    if (!f_.something_else.empty()) return Add(kFailed, "begun", f_.something_else);
    if (f_.copied)
      return Add(kOk, "begun", "an earlier part of this hand-over is there: it goes on");
    if (f_.to_empty) return Add(kOk, "begun", fmt::format("'{}' is empty", f_.to));
    Add(kFailed, "begun",
        fmt::format("'{}' has records that are not of this hand-over: they would count twice; take "
                    "an empty topic",
                    f_.to));
  }

  void Measure() {
    for (size_t p = 0; p < f_.partitions.size(); ++p) {
      const HandoverPartition& partition = f_.partitions[p];
      const Offset from = f_.copied && p < f_.copied->size()
                              ? std::max((*f_.copied)[p], partition.earliest)
                              : partition.from;
      plan_.records += std::max<int64_t>(0, partition.end.v - from.v);
      if (partition.newest == kNoAppendTime || from >= partition.end) continue;
      plan_.last = std::max(plan_.last, partition.newest);
      const AppendTime first = std::max(partition.oldest, HandoverStart(f_.at, f_.pipeline));
      if (plan_.first == kNoAppendTime || first < plan_.first) plan_.first = first;
    }
    plan_.bytes = plan_.records * f_.bytes_a_record;
  }

  void Recommend() {
    const std::string at = TimeText(f_.at);
    plan_.options = {"--pipeline.count_from " + at, "--kafka.topic " + f_.to};
    if (!f_.embedded)
      plan_.options.insert(plan_.options.end(),
                           {"--kafka.deployment ANOTHER", "--kafka.counts_topic ANOTHER"});
    const std::string command = fmt::format(
        "sightline handover --at {} {} --kafka {} --to {}", at,
        f_.embedded ? "--data " + f_.data
                    : fmt::format("--from {}{}", f_.from, f_.until_end ? " --until-end" : ""),
        f_.brokers, f_.to);
    if (f_.embedded) {
      plan_.steps = {
          fmt::format(
              "the server of '{}' has run with --pipeline.count_until {} until its watermark "
              "was past that, and is stopped",
              f_.data, at),
          command,
          fmt::format("sightline up --data {} --kafka {} {}   (without count_until; count_from "
                      "stays)",
                      f_.data, f_.brokers, fmt::join(plan_.options, " ")),
          "what senders kept meanwhile they send now; what comes through HTTP goes to the topic"};
      return;
    }
    plan_.steps = {
        fmt::format("start the old pipeline with --pipeline.count_until {}, while that is ahead of "
                    "all events",
                    at),
        command + (live() ? "   and keep it running" : ""),
        fmt::format("start the new pipeline with {} (counts topics of {} partitions; the lake may "
                    "be the same)",
                    fmt::join(plan_.options, " "), f_.to_partitions),
        fmt::format("when the old pipeline's watermark is past {} (`/metrics`), move the producers "
                    "to '{}', and what shows the counts to the new ones",
                    TimeText(f_.at + f_.pipeline.dedup_horizon), f_.to)};
    if (live())
      plan_.steps.push_back(fmt::format(
          "when '{}' is silent, stop `handover` with SIGTERM, and then the old pipeline", f_.from));
  }

  const HandoverFacts& f_;
  HandoverPlan plan_;
};

}  // namespace

std::string_view ToString(HandoverCheck::Verdict verdict) {
  return verdict == kOk ? "ok" : verdict == kWarning ? "warning" : "failed";
}

bool HandoverPlan::ok() const {
  return std::ranges::none_of(checks, [](const auto& check) { return check.verdict == kFailed; });
}

AppendTime HandoverStart(EventTime at, const PipelineSpec& pipeline) {
  return {(at - pipeline.dedup_horizon - pipeline.future_tolerance).v};
}

HandoverPlan PlanHandover(const HandoverFacts& facts) { return Planner(facts).Make(); }

std::string TimeText(EventTime time) {
  const EventTime second = WindowStart(time, {1'000});
  const auto text = fmt::format("{:%Y-%m-%dT%H:%M:%S}", fmt::gmtime(second.v / 1'000));
  const int64_t ms = (time - second).v;
  return ms == 0 ? text + "Z" : fmt::format("{}.{:03}Z", text, ms);
}

}  // namespace sightline
