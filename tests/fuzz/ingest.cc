// Ingest: the body of a POST becomes records. However it is divided into steps, nothing is lost or
// doubled, and nothing is accepted that the engine would not decode again.

#include "ingest/ingest.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "fuzz_input.h"
#include "operators/decode.h"

namespace sightline {
namespace {

struct Tally {
  int64_t good = 0, malformed = 0;
  friend bool operator==(const Tally&, const Tally&) = default;
};

void Add(std::string_view message, const DecodeRules& rules, Tally& tally) {
  const FuzzInput record(message, kDecodePadding, '\0');
  Decoder decoder(rules);
  std::vector<Event> events;
  decoder.Decode(record.view(), events);
  for (const Event& event : events)
    ++(event.kind == Event::Kind::kMalformed ? tally.malformed : tally.good);
}

Ingested Run(std::string_view body, const DecodeRules& rules, int32_t partitions, size_t step) {
  const FuzzInput input(body, kDecodePadding, '"');
  IngestScratch scratch(rules);
  Ingest ingest(input.view(), partitions, &scratch);
  // Every step makes progress: at least one element.
  for (size_t steps = 0; !ingest.Step(step); ++steps) CHECK(steps <= body.size() + 2);
  return ingest.Take();
}

void Check(std::string_view body, const DecodeRules& rules) {
  const Ingested done = Run(body, rules, 3, 1 << 20);
  Tally packed;
  for (const PackedRecords& records : done.records) {
    CHECK(records.partition >= 0 && records.partition < 3 && records.count > 0);
    ByteReader in(records.bytes);
    int64_t count = 0;
    for (; in.ok() && in.remaining() > 0; ++count) Add(in.String(), rules, packed);
    CHECK(in.done() && count == records.count);
  }
  CHECK((packed == Tally{done.accepted, done.rejected}));
  CHECK(done.errors.size() ==
        static_cast<size_t>(std::min<int64_t>(done.rejected, kIngestErrorsMax)));
  CHECK(!done.ToJson().empty());

  const Ingested again = Run(body, rules, 3, 1);
  CHECK(again.accepted == done.accepted && again.rejected == done.rejected);
  CHECK(again.errors == done.errors && again.rejected_by == done.rejected_by);
  CHECK(again.records.size() == done.records.size());
  for (size_t i = 0; i < done.records.size(); ++i)
    CHECK(again.records[i].bytes == done.records[i].bytes);

  const Ingested alone = Run(body, rules, 1, 100);
  CHECK(alone.accepted == done.accepted && alone.rejected == done.rejected);
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::Check(sightline::ViewOf(data, size), {});
  sightline::Check(sightline::ViewOf(data, size), sightline::kOldestRules);
  return 0;
}
