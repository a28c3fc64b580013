// ParseCommit: a commit of the lake's log is read, or refused by name; it never causes a crash.

#include <cstdint>
#include <string>

#include "base/check.h"
#include "connectors/lake/commit_json.h"
#include "fuzz_input.h"

namespace sightline {
namespace {

void Check(std::string_view bytes) {
  const FuzzInput input(bytes, 0, '\0');
  const Result<lake::Commit> commit = lake::ParseCommit(input.view(), "the-commit");
  if (!commit.ok()) {
    CHECK(commit.status().message().find("the-commit") != std::string::npos);
    return;
  }
  lake::Change change{.operation = commit.value().info.operation};
  for (const lake::AddFile& file : commit.value().adds) {
    CHECK(!file.path.empty());
    change.adds.push_back(file);
  }
  for (const auto& [app, version] : commit.value().txns) change.txns[app] = version;
  // What was read can be written, and stays the same.
  const Result<lake::Commit> again =
      lake::ParseCommit(lake::EncodeCommit(change, 1, "id"), "written");
  CHECK(again.ok() && again.value().adds.size() == change.adds.size());
  for (size_t i = 0; i < change.adds.size(); ++i)
    CHECK(again.value().adds[i].path == change.adds[i].path &&
          again.value().adds[i].stats == change.adds[i].stats &&
          again.value().adds[i].tags == change.adds[i].tags &&
          again.value().adds[i].size_bytes == change.adds[i].size_bytes);
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::Check(sightline::ViewOf(data, size));
  return 0;
}
