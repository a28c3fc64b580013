// FilesOf: an add of the log, whatever its path, partition values and statistics, is a file for
// queries. Lines: path, location, date, bucket; the rest is the statistics.

#include "history/lake_files.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "base/check.h"
#include "fuzz_input.h"

namespace sightline {
namespace {

void Check(std::string_view bytes) {
  const FuzzInput input(bytes, 0, '\0');
  std::string_view rest = input.view();
  std::array<std::string, 4> lines;
  for (std::string& line : lines) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  const auto& [path, location, date, bucket] = lines;
  const lake::AddFile add{.path = path,
                          .partition_values = {{"bucket", bucket},
                                               {"date", date},
                                               {"geographical_location_oid", location}},
                          .size_bytes = 1,
                          .stats = std::string(rest)};
  lake::Snapshot before, now;
  now.files.Put(std::make_shared<const lake::AddFile>(add));
  const std::vector<LakeFile> files = FilesOf(now);
  CHECK(files.size() == 1 && files[0].path.size() <= path.size());
  const FileList list = Advance(FileList("/lake", {}), before, now);
  CHECK(list.size() == 1 && list.Select({}).size() == 1);
  CHECK(*list.Select({})[0] == files[0]);
  CHECK(Advance(list, now, before).size() == 0);
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::Check(sightline::ViewOf(data, size));
  return 0;
}
