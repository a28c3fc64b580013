// The doctor: whatever the bytes, its answer is the same for the same bytes, its text obeys no
// terminal, and each line of its configuration is a comment, a section or one setting.

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/utf8.h"
#include "doctor/diagnose.h"
#include "doctor/server_answers.h"
#include "fuzz_input.h"

namespace sightline {
namespace {

constexpr int64_t kNow = 1'763'800'020'000;

void CheckConfig(std::string_view config) {
  while (!config.empty()) {
    const std::string_view line = config.substr(0, config.find('\n'));
    config.remove_prefix(line.size() + 1);  // the last one ends, too
    const bool is_setting = line.find(" = \"") != std::string_view::npos && line.ends_with('"');
    CHECK(line.empty() || line.starts_with('#') || line.starts_with('[') || is_setting);
  }
}

void CheckText(std::string_view text) {
  CHECK(IsUtf8(text));
  for (const char c : text) CHECK(static_cast<unsigned char>(c) >= 0x20 || c == '\n');
}

// The first byte says what the source is; each line is a message, or all lines are one.
std::string Said(std::string_view bytes) {
  const auto kind = bytes.empty() ? 0 : static_cast<unsigned char>(bytes.front());
  if (!bytes.empty()) bytes.remove_prefix(1);
  const bool is_topic = (kind & 1) != 0, has_append_time = (kind & 2) != 0,
             by_line = (kind & 4) != 0;
  SourceFacts facts{.kind = is_topic ? SourceFacts::Kind::kTopic : SourceFacts::Kind::kFile,
                    .name = "raw",
                    .now_ms = kNow};
  Sample sample({.elements_max = 1'000, .partitions = 3});
  for (int64_t place = 1; !bytes.empty(); ++place) {
    const std::string_view line = by_line ? bytes.substr(0, bytes.find('\n')) : bytes;
    bytes.remove_prefix(std::min(line.size() + 1, bytes.size()));
    const FuzzInput input(line, kDecodePadding, '"');
    SampleMessage message{.bytes = input.view(), .place = place};
    if (is_topic) message.partition = static_cast<int32_t>(place % 3);
    if (is_topic) message.key = line.substr(0, 2);
    if (has_append_time) message.append_time = {kNow + place};
    sample.Add(message);
  }
  sample.Finish();
  const Diagnosis diagnosis = Diagnose(sample, facts);
  const std::string config = FormatConfig(diagnosis, facts), text = FormatText(diagnosis);
  CheckConfig(config);
  CheckText(text);
  return text + FormatJson(diagnosis, facts);
}

void CheckServer(std::string_view bytes) {
  const std::string_view first = bytes.substr(0, bytes.find('\n'));
  bytes.remove_prefix(std::min(first.size() + 1, bytes.size()));
  const std::string_view second = bytes.substr(0, bytes.find('\n'));
  bytes.remove_prefix(std::min(second.size() + 1, bytes.size()));
  const Result<Diagnosis> diagnosis =
      DiagnoseServer({.healthz = first, .ledger = second, .alerts = bytes});
  if (diagnosis.ok()) CheckText(FormatText(diagnosis.value()));
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = sightline::ViewOf(data, size);
  CHECK(sightline::Said(bytes) == sightline::Said(bytes));
  sightline::CheckServer(bytes);
  return 0;
}
