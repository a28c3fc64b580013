#include "connectors/storage/webhdfs_answer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline {
namespace {

using testing::HasSubstr;
using Kind = HdfsVerdict::Kind;

HdfsVerdict Refused(int32_t status, const std::string& exception, const std::string& message) {
  return JudgeHdfsAnswer(
      {.status = status,
       .body = fmt::format(
           R"({{"RemoteException":{{"exception":"{}","javaClassName":"x","message":"{}"}}}})",
           exception, message)});
}

TEST(WebHdfsAnswer, TellsRefusalsApart) {
  struct Case {
    int32_t status;
    const char *exception, *message;
    Kind kind;
    StatusCode code;
    const char* advice;
  };
  for (const Case& one : std::vector<Case>{
           {404, "FileNotFoundException", "x", Kind::kAbsent, StatusCode::kRetry, "x"},
           {403, "FileAlreadyExistsException", "x", Kind::kTaken, StatusCode::kStop, "x"},
           {403, "SafeModeException", "x", Kind::kFailed, StatusCode::kRetry, "-safemode leave"},
           {403, "NSQuotaExceededException", "x", Kind::kFailed, StatusCode::kRetry, "-setQuota"},
           {403, "DSQuotaExceededException", "x", Kind::kFailed, StatusCode::kRetry,
            "-setSpaceQuota"},
           {403, "AccessControlException", "x", Kind::kFailed, StatusCode::kStop, "the right"},
           {403, "RangerAccessControlException", "x", Kind::kFailed, StatusCode::kStop, "Ranger"},
           {403, "InvalidToken", "token is expired", Kind::kFailed, StatusCode::kStop,
            "token_file"},
           {403, "StandbyException", "x", Kind::kAgain, StatusCode::kRetry, "namenodes"},
           {403, "RetriableException", "x", Kind::kAgain, StatusCode::kRetry, "x"},
           {403, "IOException", "File /f could only be written to 0 of the 1 minReplication nodes.",
            Kind::kAgain, StatusCode::kRetry, "could only be written"},
           {403, "IOException", "Offset=9 out of the range [0, 9); OPEN, path=/f", Kind::kBeyond,
            StatusCode::kRetry, "x"},
           {403, "EOFException", "Cannot seek after EOF", Kind::kBeyond, StatusCode::kRetry, "s"},
           {400, "InvalidPathException", "Invalid path name /a:b", Kind::kFailed, StatusCode::kStop,
            "another path"},
       }) {
    const HdfsVerdict verdict = Refused(one.status, one.exception, one.message);
    EXPECT_EQ(verdict.kind, one.kind) << one.exception;
    EXPECT_EQ(verdict.code, one.code) << one.exception;
    EXPECT_FALSE(verdict.may_be_done) << one.exception;
    EXPECT_THAT(verdict.text, HasSubstr(one.exception));
    EXPECT_THAT(verdict.text, HasSubstr(one.advice));
  }
}

TEST(WebHdfsAnswer, LeavesOutTheStackTrace) {
  const HdfsVerdict verdict = Refused(403, "SafeModeException",
                                      R"(Cannot create /f.\nIt was turned on.\n\tat org.A(B:1)\n)");
  EXPECT_THAT(verdict.text, HasSubstr("HTTP 403, SafeModeException: Cannot create /f.\nIt was"));
  EXPECT_THAT(verdict.text, testing::Not(HasSubstr("org.A")));
}

// "There is no such file" from somebody who knows nothing of files would lose data.
TEST(WebHdfsAnswer, OnlyWebHdfsSaysThatAFileIsAbsent) {
  const HdfsVerdict verdict = JudgeHdfsAnswer({.status = 404, .body = "<html>Not Found</html>"});
  EXPECT_EQ(verdict.kind, Kind::kFailed);
  EXPECT_EQ(verdict.code, StatusCode::kStop);
  EXPECT_THAT(verdict.text, HasSubstr("base_path"));
  EXPECT_EQ(JudgeHdfsAnswer({.status = 302, .location = "http://h/login"}).code, StatusCode::kStop);
  // The one redirect that WebHDFS makes is followed before this.
  EXPECT_EQ(JudgeHdfsAnswer({.status = 307, .location = "http://h/again"}).code, StatusCode::kStop);
  EXPECT_THAT(JudgeHdfsAnswer({.status = 401}).text, HasSubstr("token_file"));
}

TEST(WebHdfsAnswer, KnowsWhatMayBeDone) {
  EXPECT_TRUE(JudgeHdfsAnswer({.status = 0, .error = "cut"}).may_be_done);
  EXPECT_TRUE(JudgeHdfsAnswer({.status = 504}).may_be_done);
  EXPECT_TRUE(Refused(500, "RuntimeException", "x").may_be_done);
  EXPECT_FALSE(JudgeHdfsAnswer({.status = 0, .error = "x", .connected = false}).may_be_done);
  EXPECT_FALSE(JudgeHdfsAnswer({.status = 429}).may_be_done);
  for (const int32_t status : {200, 201})
    EXPECT_EQ(JudgeHdfsAnswer({.status = status}).kind, Kind::kDone);
}

TEST(WebHdfsAnswer, ReadsFiles) {
  const auto one = ReadHdfsFiles(
      R"({"FileStatus":{"pathSuffix":"","type":"FILE","length":7,"modificationTime":1796109737539}})");
  ASSERT_EQ(one.value().size(), 1u);
  EXPECT_TRUE(one.value()[0].is_file);
  EXPECT_EQ(one.value()[0].size_bytes, 7);
  EXPECT_EQ(one.value()[0].modified_ms, 1'796'109'737'539);
  const auto list = ReadHdfsFiles(
      R"({"FileStatuses":{"FileStatus":[{"pathSuffix":"a","type":"DIRECTORY"},{"pathSuffix":"b"}]}})");
  ASSERT_EQ(list.value().size(), 2u);
  EXPECT_TRUE(list.value()[0].is_directory);
  EXPECT_FALSE(list.value()[1].is_file || list.value()[1].is_directory);
  for (const char* body : {"", "{", "[]", "{}", R"({"FileStatuses":{"FileStatus":7}})"})
    EXPECT_EQ(ReadHdfsFiles(body).status().code(), StatusCode::kRetry) << body;
}

TEST(WebHdfsAnswer, ReadsTheBoolean) {
  EXPECT_FALSE(SaysTrue(R"({"boolean":false})"));
  for (const char* body : {R"({"boolean":true})", "", "{}", "[1]", R"({"boolean":0})"})
    EXPECT_TRUE(SaysTrue(body)) << body;
}

}  // namespace
}  // namespace sightline
