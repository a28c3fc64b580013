#include "connectors/storage/s3_answer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline {
namespace {

using testing::HasSubstr;
using testing::Not;
using S3Kind = S3Verdict::Kind;

constexpr int64_t kNow = 1'796'109'737'000;
constexpr const char* kRight = "the right s3:PutObject on arn:aws:s3:::counts/lake/*";

S3Verdict Judged(const HttpAnswer& answer) { return JudgeS3Answer(answer, kRight, kNow); }

HttpAnswer RefusedByS3(int32_t status, const std::string& code, const std::string& more = "") {
  return {.status = status,
          .body = fmt::format(
              R"(<?xml version="1.0"?><Error><Code>{}</Code><Message>why</Message>{}</Error>)",
              code, more)};
}

TEST(S3Answer, TellsRefusalsApart) {
  struct Case {
    int32_t status;
    const char* refusal;
    S3Kind kind;
    StatusCode code;
    const char* advice;
    bool may_be_done = false;
  };
  for (const Case& one : std::vector<Case>{
           {404, "NoSuchKey", S3Kind::kAbsent, StatusCode::kRetry, "why"},
           {404, "NoSuchUpload", S3Kind::kNoUpload, StatusCode::kRetry, "lifecycle rule"},
           {404, "NoSuchBucket", S3Kind::kFailed, StatusCode::kStop, "create the bucket"},
           {412, "PreconditionFailed", S3Kind::kTaken, StatusCode::kStop, "why"},
           {416, "InvalidRange", S3Kind::kBeyond, StatusCode::kRetry, "why"},
           {403, "AccessDenied", S3Kind::kFailed, StatusCode::kStop, kRight},
           {403, "SignatureDoesNotMatch", S3Kind::kFailed, StatusCode::kStop, "correct the key"},
           {403, "InvalidAccessKeyId", S3Kind::kFailed, StatusCode::kStop, "correct the key"},
           {400, "ExpiredToken", S3Kind::kFailed, StatusCode::kStop, "renew the temporary key"},
           {400, "KMS.DisabledException", S3Kind::kFailed, StatusCode::kStop, "kms:Decrypt"},
           {503, "SlowDown", S3Kind::kAgain, StatusCode::kRetry, "fewer requests"},
           {400, "RequestTimeout", S3Kind::kAgain, StatusCode::kRetry, "network"},
           {400, "BadDigest", S3Kind::kAgain, StatusCode::kRetry, "network"},
           {409, "ConditionalRequestConflict", S3Kind::kAgain, StatusCode::kRetry, "log"},
           {500, "InternalError", S3Kind::kAgain, StatusCode::kRetry, "log", true},
           {507, "XMinioStorageFull", S3Kind::kFailed, StatusCode::kRetry, "add space"},
           {409, "ObjectParentIsFile", S3Kind::kFailed, StatusCode::kStop, "in the way"},
           {501, "NotImplemented", S3Kind::kAgain, StatusCode::kRetry, "log", true},
           {400, "Whatever", S3Kind::kFailed, StatusCode::kStop, "settings of this bucket"},
       }) {
    const S3Verdict verdict = Judged(RefusedByS3(one.status, one.refusal));
    EXPECT_EQ(verdict.kind, one.kind) << one.refusal;
    EXPECT_EQ(verdict.code, one.code) << one.refusal;
    EXPECT_EQ(verdict.may_be_done, one.may_be_done) << one.refusal;
    EXPECT_THAT(verdict.text, HasSubstr(fmt::format("HTTP {}, {}: why", one.status, one.refusal)));
    EXPECT_THAT(verdict.text, HasSubstr(one.advice));
  }
}

TEST(S3Answer, SaysHowWrongTheClockIs) {
  HttpAnswer answer = RefusedByS3(403, "RequestTimeTooSkewed");
  answer.date_ms = kNow + 7'500'000;
  EXPECT_EQ(Judged(answer).kind, S3Kind::kSkewed);
  EXPECT_EQ(Judged(answer).code, StatusCode::kStop);
  EXPECT_THAT(Judged(answer).text, HasSubstr("it is 2 h 5 min behind the server's"));
  answer.date_ms = kNow - 1'000'000;
  EXPECT_THAT(Judged(answer).text, HasSubstr("it is 16 min ahead of the server's"));
  answer.date_ms = 0;
  EXPECT_THAT(Judged(answer).text, Not(HasSubstr("server's")));
}

TEST(S3Answer, SaysWhereTheBucketIs) {
  HttpAnswer moved = RefusedByS3(301, "PermanentRedirect");
  moved.headers["x-amz-bucket-region"] = "eu-west-1";
  for (const HttpAnswer& answer :
       {moved, RefusedByS3(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>")}) {
    EXPECT_EQ(Judged(answer).code, StatusCode::kStop);
    EXPECT_THAT(Judged(answer).text, HasSubstr("set region = \"eu-west-1\""));
  }
}

// "There is no such file" from somebody who knows nothing of files would lose data.
TEST(S3Answer, OnlyS3SaysThatAFileIsAbsent) {
  for (const HttpAnswer& answer :
       {HttpAnswer{.status = 404, .body = "<html>Not Found</html>"}, HttpAnswer{.status = 404},
        HttpAnswer{.status = 404, .body = "<Error><Message>NoSuchKey</Message></Error>"},
        HttpAnswer{.status = 302, .location = "http://h/login"}}) {
    EXPECT_EQ(Judged(answer).kind, S3Kind::kFailed);
    EXPECT_EQ(Judged(answer).code, StatusCode::kStop);
    EXPECT_THAT(Judged(answer).text, HasSubstr("endpoint"));
  }
}

TEST(S3Answer, KnowsWhatMayBeDone) {
  EXPECT_TRUE(Judged({.status = 0, .error = "cut"}).may_be_done);
  EXPECT_TRUE(Judged({.status = 504}).may_be_done);
  EXPECT_FALSE(Judged({.status = 0, .error = "x", .connected = false}).may_be_done);
  EXPECT_FALSE(Judged({.status = 429}).may_be_done);
  for (const int32_t status : {200, 204, 206})
    EXPECT_EQ(Judged({.status = status}).kind, S3Kind::kDone);
}

TEST(S3Answer, ReadsPagesOfFiles) {
  const auto page = ReadS3Page(
      "<?xml version='1.0'?><ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
      "<IsTruncated>true</IsTruncated><EncodingType>url</EncodingType>"
      "<NextContinuationToken>a+b</NextContinuationToken>"
      "<Contents><Key>a%2Bb/c+d%C3%9C</Key><Size>7</Size>"
      "<LastModified>2026-12-01T06:42:17.539Z</LastModified></Contents>"
      "<Contents><Key>x</Key><Size>0</Size><LastModified>2026-12-01T06:42:17Z</LastModified>"
      "</Contents></ListBucketResult>");
  ASSERT_TRUE(page.ok()) << page.status().message();
  ASSERT_EQ(page.value().objects.size(), 2u);
  EXPECT_EQ(page.value().objects[0].key, "a+b/c d\u00dc");
  EXPECT_EQ(page.value().objects[0].size_bytes, 7);
  EXPECT_EQ(page.value().objects[0].modified_ms, 1'796'107'337'539);
  EXPECT_EQ(page.value().objects[1].modified_ms, 1'796'107'337'000);
  ASSERT_EQ(page.value().next.size(), 1u);
  EXPECT_EQ(page.value().next[0], std::pair(std::string("continuation-token"), std::string("a+b")));
  const auto plain = ReadS3Page(
      "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a%2Bb+&amp;</"
      "Key><LastModified>2026-12-01T06:42:17Z"
      "</LastModified></Contents></ListBucketResult>");
  EXPECT_EQ(plain.value().objects.at(0).key, "a%2Bb+&");
  EXPECT_TRUE(plain.value().next.empty());
}

TEST(S3Answer, ReadsPagesOfUploads) {
  const auto page = ReadS3Page(
      "<ListMultipartUploadsResult><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
      "<NextKeyMarker>a%20b</NextKeyMarker><NextUploadIdMarker>u1</NextUploadIdMarker>"
      "<Upload><Key>a%20b</Key><UploadId>u1</UploadId><Initiated>2026-12-01T06:42:17Z</Initiated>"
      "</Upload></ListMultipartUploadsResult>");
  ASSERT_TRUE(page.ok()) << page.status().message();
  ASSERT_EQ(page.value().objects.size(), 1u);
  EXPECT_EQ(page.value().objects[0].key, "a b");
  EXPECT_EQ(page.value().objects[0].upload_id, "u1");
  EXPECT_THAT(page.value().next, testing::ElementsAre(testing::Pair("key-marker", "a b"),
                                                      testing::Pair("upload-id-marker", "u1")));
}

// A list that lacks something would make the vacuum or a reader act on half of the files.
TEST(S3Answer, RefusesListsThatAreNotComplete) {
  for (const char* body :
       {"", "<", "<html>welcome</html>", "<ListBucketResult>", "<Error/>",
        "<ListBucketResult><Contents><Key>a</Key>",
        "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><LastModified>soon</LastModified></Contents>"
        "</ListBucketResult>",
        "<ListBucketResult><Contents><Key>a</Key><LastModified>2026-13-01T06:42:17Z</LastModified>"
        "</Contents></ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<ListBucketResult></ListBucketResult>",
        "<ListMultipartUploadsResult><Upload><Key>a</Key><Initiated>2026-12-01T06:42:17Z"
        "</Initiated></Upload></ListMultipartUploadsResult>"})
    EXPECT_EQ(ReadS3Page(body).status().code(), StatusCode::kRetry) << body;
}

TEST(S3Answer, ReadsWhatEndsAnUpload) {
  EXPECT_EQ(ReadS3UploadId("<InitiateMultipartUploadResult><UploadId>u</UploadId>"
                           "</InitiateMultipartUploadResult>"),
            "u");
  EXPECT_EQ(ReadS3UploadId("<InitiateMultipartUploadResult/>"), std::nullopt);
  EXPECT_EQ(ReadS3UploadId("u"), std::nullopt);
  EXPECT_TRUE(SaysCompleted("\n<CompleteMultipartUploadResult/>"));
  EXPECT_FALSE(SaysCompleted("<Error><Code>InternalError</Code></Error>"));
  EXPECT_FALSE(SaysCompleted(""));
  EXPECT_EQ(S3PartList({"\"a\"", "b&"}),
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\"a\"</ETag></Part>"
            "<Part><PartNumber>2</PartNumber><ETag>b&amp;</ETag></Part></CompleteMultipartUpload>");
}

}  // namespace
}  // namespace sightline
