#include "connectors/storage/s3_signature.h"

#include <gtest/gtest.h>

namespace sightline {
namespace {

// The examples of the specification, and its results.
const S3Key kExampleKey{.id = "AKIAIOSFODNN7EXAMPLE",
                        .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"};
constexpr int64_t kSignedAt = 1'369'353'600'000;  // 2013-05-24
constexpr const char* kHost = "examplebucket.s3.amazonaws.com";

std::string Signature(S3Call call, std::string_view body = "") {
  SignS3Call(call, kExampleKey, "us-east-1", Hex(Sha256(body)), kSignedAt);
  const std::string& authorization = call.headers.at("authorization");
  EXPECT_EQ(call.headers.at("x-amz-date"), "20130524T000000Z");
  EXPECT_TRUE(authorization.starts_with(
      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"))
      << authorization;
  return authorization.substr(authorization.rfind('=') + 1);
}

TEST(S3Signature, SignsTheExamplesOfTheSpecification) {
  EXPECT_EQ(Signature({.method = "GET",
                       .host = kHost,
                       .path = "/test.txt",
                       .headers = {{"range", "bytes=0-9"}}}),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  EXPECT_EQ(Signature({.method = "PUT",
                       .host = kHost,
                       .path = "/test%24file.text",
                       .headers = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                                   {"x-amz-storage-class", "REDUCED_REDUNDANCY"}}},
                      "Welcome to Amazon S3."),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
  EXPECT_EQ(
      Signature({.method = "GET", .host = kHost, .path = "/", .parameters = {{"lifecycle", ""}}}),
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  EXPECT_EQ(Signature({.method = "GET",
                       .host = kHost,
                       .path = "/",
                       .parameters = {{"max-keys", "2"}, {"prefix", "J"}}}),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST(S3Signature, SignsTheSessionToken) {
  S3Call call{.method = "GET", .host = kHost, .path = "/"};
  S3Key key = kExampleKey;
  key.session_token = "TOKEN";
  SignS3Call(call, key, "eu-west-1", Hex(Sha256("")), kSignedAt);
  EXPECT_EQ(call.headers.at("x-amz-security-token"), "TOKEN");
  EXPECT_NE(call.headers.at("authorization")
                .find("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"),
            std::string::npos);
}

TEST(S3Signature, EncodesTheQuery) {
  EXPECT_EQ(S3Query({{"uploads", ""}, {"prefix", "a b/+&~"}}), "prefix=a%20b%2F%2B%26~&uploads=");
}

TEST(S3Signature, HashesWhatIsPut) {
  // FIPS 180-2, appendix B.
  EXPECT_EQ(Hex(Sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::string million(1'000'000, 'a');
  EXPECT_EQ(Hex(Sha256(million)),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  const std::string larger(3'000'000, 'x');
  EXPECT_EQ(Sha256OfContent(larger).value(), Sha256(larger));
  EXPECT_EQ(Sha256OfContent({}).value(), Sha256(""));
  EXPECT_EQ(Base64("foob"), "Zm9vYg==");  // RFC 4648
  EXPECT_EQ(Base64(""), "");
}

}  // namespace
}  // namespace sightline
