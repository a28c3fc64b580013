#include "connectors/storage/open_storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sightline {
namespace {

using testing::HasSubstr;

const StorageOptions kOptions{
    .hdfs = {{"prod", {.namenodes = {"https://nn1:9871"}}},
             {"none", {}},
             {"ftp", {.namenodes = {"nn1:9871"}}},
             {"slash", {.namenodes = {"http://nn1"}, .base_path = "/webhdfs/v1/"}},
             {"mode", {.namenodes = {"http://nn1"}, .directory_mode = "rwx"}}},
    .s3 = {{"counts", {.access_key_file = "key"}},
           {"ftp", {.endpoint = "ftp://h"}},
           {"deep", {.endpoint = "https://h/s3"}},
           {"nowhere", {.region = ""}},
           {"kms", {.kms_key = "a"}}}};

TEST(OpenStorage, OpensWhatItKnows) {
  for (const char* url : {"/srv/lake", "lake", "file:///srv/lake", "hdfs://prod/lake",
                          "hdfs://prod/a/lake/", "s3://counts/lake", "s3://counts/a/lake/"})
    EXPECT_TRUE(OpenStorage(url, kOptions).ok()) << url;
}

TEST(OpenStorage, KnowsAPlaceFromEveryFolder) {
  EXPECT_EQ(AbsoluteStorageUrl("/srv/a/../lake"), "/srv/lake");
  EXPECT_EQ(AbsoluteStorageUrl("file:///srv/lake"), "/srv/lake");
  EXPECT_TRUE(AbsoluteStorageUrl("lake").starts_with('/'));
  EXPECT_EQ(AbsoluteStorageUrl("hdfs://prod/lake"), "hdfs://prod/lake");
  EXPECT_EQ(LocalFolder("file:///lake"), "/lake");
  EXPECT_TRUE(LocalFolder("lake").value().starts_with('/'));
  EXPECT_FALSE(LocalFolder("hdfs://prod/lake") || LocalFolder("s3://bucket/lake"));
}

TEST(OpenStorage, SaysWhatIsWrong) {
  struct Case {
    const char *url, *why;
  };
  for (const Case& one : std::vector<Case>{{"", "empty"},
                                           {"gs://bucket/lake", "must be a path"},
                                           {"s3://counts", "s3://NAME/path"},
                                           {"s3://counts/a//b", "empty components"},
                                           {"s3://other/lake", "[s3.other] with endpoint"},
                                           {"s3://ftp/lake", "'ftp://h'"},
                                           {"s3://deep/lake", "without a path"},
                                           {"s3://nowhere/lake", "region"},
                                           {"s3://kms/lake", "sse-kms"},
                                           {"file://host/lake", "must be a path"},
                                           {"hdfs://prod", "hdfs://NAME/path"},
                                           {"hdfs://prod/", "hdfs://NAME/path"},
                                           {"hdfs:///lake", "hdfs://NAME/path"},
                                           {"hdfs://prod/a/../lake", "'..'"},
                                           {"hdfs://other/lake", "[hdfs.other] with namenodes"},
                                           {"hdfs://nn1:8020/lake", "[hdfs.nn1:8020]"},
                                           {"hdfs://none/lake", "set namenodes"},
                                           {"hdfs://ftp/lake", "'nn1:9871'"},
                                           {"hdfs://slash/lake", "base_path"},
                                           {"hdfs://mode/lake", "'rwx' is not a mode"}}) {
    const auto opened = OpenStorage(one.url, kOptions);
    EXPECT_EQ(opened.status().code(), StatusCode::kStop) << one.url;
    EXPECT_THAT(opened.status().message(), HasSubstr(one.why));
  }
}

}  // namespace
}  // namespace sightline
