#include "history/run_part.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "connectors/checkpoint_files/entry_file.h"
#include "connectors/lake/write_batch.h"
#include "history/pinned_runs.h"

namespace sightline {
namespace {

// All that is needed to read the part from the file of the run.
struct RunSlice {
  std::string path;
  SourcePartition partition;
  SpilledRun run;
  TableOffsets from;
  Millis window_size;
};

std::string Encode(const RunSlice& slice) {
  ByteWriter out;
  out.String(slice.path);
  out.String(slice.partition.source);
  out.Signed(slice.partition.partition);
  out.Signed(slice.run.id.owner.v);
  for (const int64_t value :
       {slice.run.id.number, slice.run.first.v, slice.run.rows, slice.run.bytes,
        slice.from.counts.v, slice.from.ledger.v, slice.window_size.v})
    out.Signed(value);
  out.Varint(slice.run.boundaries.size());
  for (const Offset boundary : slice.run.boundaries) out.Signed(boundary.v);
  return out.Take();
}

Result<RunSlice> Decode(std::string_view bytes) {
  ByteReader in(bytes);
  RunSlice slice{.path = std::string(in.String())};
  slice.partition.source = std::string(in.String());
  slice.partition.partition = static_cast<int32_t>(in.Signed());
  slice.run.id.owner = {in.Signed()};
  for (int64_t* value :
       {&slice.run.id.number, &slice.run.first.v, &slice.run.rows, &slice.run.bytes,
        &slice.from.counts.v, &slice.from.ledger.v, &slice.window_size.v})
    *value = in.Signed();
  for (uint64_t left = in.Varint(); left > 0 && in.ok(); --left)
    slice.run.boundaries.push_back({in.Signed()});
  if (!in.done() || slice.run.boundaries.empty())
    return Status::Stop("a reference to a spilled run is malformed");
  return slice;
}

class RunPart final : public PendingPart {
 public:
  using ReadRun = std::function<Result<std::vector<Segment>>()>;
  RunPart(RunSlice slice, ReadRun read) : slice_(std::move(slice)), read_(std::move(read)) {}

  Result<std::vector<CountIncrement>> Counts() const override {
    std::vector<CountIncrement> rows;
    if (slice_.run.next() <= slice_.from.counts) return rows;
    const Result<std::vector<Segment>> segments = read_();
    if (!segments.ok()) return segments.status();
    AddCounts(slice_.partition, SegmentsFrom(segments.value(), slice_.from.counts),
              slice_.window_size, rows);
    return rows;
  }
  Result<std::vector<LedgerIncrement>> Ledger() const override {
    std::vector<LedgerIncrement> rows;
    if (slice_.run.next() <= slice_.from.ledger) return rows;
    const Result<std::vector<Segment>> segments = read_();
    if (!segments.ok()) return segments.status();
    AddLedger(slice_.partition, SegmentsFrom(segments.value(), slice_.from.ledger), rows);
    return rows;
  }
  std::string Reference() const override { return Encode(slice_); }

 private:
  const RunSlice slice_;
  const ReadRun read_;
};

}  // namespace

std::span<const Segment> SegmentsFrom(std::span<const Segment> segments, Offset offset) {
  const auto first = std::ranges::find_if(
      segments, [&](const Segment& segment) { return segment.first >= offset; });
  return {first, segments.end()};
}

void AddCounts(const SourcePartition& partition, std::span<const Segment> segments,
               Millis window_size, std::vector<CountIncrement>& into) {
  if (segments.empty()) return;
  lake::WriteBatch batch = lake::ToIncrements(partition, segments, window_size);
  for (CountRow& row : batch.windows)
    into.push_back({.location = row.key.location,
                    .item = std::move(row.key.item),
                    .window = {row.key.pane_start, row.key.pane_start + window_size},
                    .count = row.count,
                    .first_detected = row.first_detected,
                    .last_detected = row.last_detected,
                    .kind = row.key.kind,
                    .source = partition,
                    .first = batch.first,
                    .next = batch.next});
}

void AddLedger(const SourcePartition& partition, std::span<const Segment> segments,
               std::vector<LedgerIncrement>& into) {
  if (segments.empty()) return;
  lake::WriteBatch batch = lake::ToLedger(partition, segments);
  for (const LedgerRow& row : batch.ledger)
    into.push_back({.source = partition, .first = batch.first, .next = batch.next, .row = row});
}

std::shared_ptr<const PendingPart> PartOf(std::shared_ptr<const PinnedRun> run,
                                          const TableOffsets& from, Millis window_size) {
  RunSlice slice{.path = run->path(),
                 .partition = run->partition(),
                 .run = run->run(),
                 .from = from,
                 .window_size = window_size};
  return std::make_shared<RunPart>(std::move(slice),
                                   [run = std::move(run)] { return run->Read(); });
}

Result<std::shared_ptr<const PendingPart>> OpenRunPart(std::string_view reference) {
  Result<RunSlice> slice = Decode(reference);
  if (!slice.ok()) return slice.status();
  auto read = [slice = slice.value()]() -> Result<std::vector<Segment>> {
    const Result<std::string> bytes = ReadRunFile(slice.path, slice.partition, slice.run.id);
    if (!bytes.ok()) return bytes.status();
    return DecodeRun(slice.run, bytes.value());
  };
  return std::shared_ptr<const PendingPart>(
      std::make_shared<RunPart>(std::move(slice).value(), std::move(read)));
}

}  // namespace sightline
