// The XML answers of S3: each is read, or refused; none causes a crash.

#include "connectors/storage/s3_answer.h"

#include <cstdint>
#include <string>

#include "base/check.h"
#include "fuzz_input.h"

namespace sightline {
namespace {

void Check(std::string_view bytes) {
  const FuzzInput input(bytes, 0, '\0');
  const Result<S3Page> page = ReadS3Page(input.view());
  if (page.ok())
    for (const S3Object& object : page.value().objects)
      CHECK(!object.key.empty() && object.modified_ms != 0);
  const auto upload = ReadS3UploadId(input.view());
  CHECK(!upload || !upload->empty());
  (void)SaysCompleted(input.view());
  for (const int32_t status : {200, 301, 403, 404, 412, 503}) {
    const S3Verdict verdict =
        JudgeS3Answer({.status = status, .body = std::string(bytes)}, "the right", 1);
    CHECK((verdict.kind == S3Verdict::Kind::kDone) == (status == 200));
    CHECK(verdict.text.empty() == (status == 200));
    // Without S3's own word, nothing is absent or taken.
    if (bytes.find("<Code") == std::string_view::npos)
      CHECK(verdict.kind != S3Verdict::Kind::kAbsent && verdict.kind != S3Verdict::Kind::kTaken);
  }
}

}  // namespace
}  // namespace sightline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sightline::Check(sightline::ViewOf(data, size));
  return 0;
}
