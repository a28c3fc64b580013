#include "connectors/storage/s3_signature.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "base/check.h"
#include "connectors/storage/http_pool.h"

namespace sightline {
namespace {

constexpr size_t kPieceBytes = 1 << 20;
constexpr size_t kHashBytes = 32;

class Hash {
 public:
  Hash() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    CHECK(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }
  void Add(std::string_view bytes) {
    CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }
  std::string End() {
    std::string hash(kHashBytes, '\0');
    CHECK(EVP_DigestFinal_ex(context_.get(), Bytes(hash), nullptr) == 1);
    return hash;
  }
  static unsigned char* Bytes(std::string& text) {
    return reinterpret_cast<unsigned char*>(text.data());
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::string Hmac(std::string_view key, std::string_view text) {
  std::string mac(kHashBytes, '\0');
  CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), Hash::Bytes(mac),
             nullptr) != nullptr);
  return mac;
}

// "20130524T000000Z"
std::string BasicTime(int64_t now_ms) {
  using namespace std::chrono;
  const sys_time<milliseconds> now{milliseconds(now_ms)};
  const sys_days day = floor<days>(now);
  const year_month_day date(day);
  const hh_mm_ss time(floor<seconds>(now - day));
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count());
}

}  // namespace

std::string Sha256(std::string_view bytes) {
  Hash hash;
  hash.Add(bytes);
  return hash.End();
}

Result<std::string> Sha256OfContent(const Content& content) {
  Hash hash;
  std::string piece(std::min(kPieceBytes, static_cast<size_t>(content.size())), '\0');
  for (int64_t offset = 0; offset < content.size();) {
    const Result<size_t> read = content.Read(offset, piece);
    if (!read.ok()) return read.status();
    hash.Add(std::string_view(piece).substr(0, read.value()));
    offset += static_cast<int64_t>(read.value());
  }
  return hash.End();
}

std::string Hex(std::string_view bytes) {
  std::string hex;
  for (const char byte : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return hex;
}

std::string Base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // and a zero byte
  EVP_EncodeBlock(Hash::Bytes(text), reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<int>(bytes.size()));
  text.pop_back();
  return text;
}

std::string S3Query(const std::map<std::string, std::string>& parameters) {
  std::string query;
  for (const auto& [name, value] : parameters)
    query += fmt::format("{}{}={}", query.empty() ? "" : "&", PercentEncoded(name),
                         PercentEncoded(value));
  return query;
}

void SignS3Call(S3Call& call, const S3Key& key, std::string_view region,
                std::string_view payload_hash, int64_t now_ms) {
  const std::string time = BasicTime(now_ms);
  const std::string scope = fmt::format("{}/{}/s3/aws4_request", time.substr(0, 8), region);
  call.headers["x-amz-date"] = time;
  call.headers["x-amz-content-sha256"] = payload_hash;
  if (!key.session_token.empty()) call.headers["x-amz-security-token"] = key.session_token;
  std::map<std::string, std::string> headers = call.headers;
  headers["host"] = call.host;
  std::string lines, names;
  for (const auto& [name, value] : headers) {
    lines += fmt::format("{}:{}\n", name, value);
    names += fmt::format("{}{}", names.empty() ? "" : ";", name);
  }
  const std::string canonical = fmt::format("{}\n{}\n{}\n{}\n{}\n{}", call.method, call.path,
                                            S3Query(call.parameters), lines, names, payload_hash);
  const std::string to_sign =
      fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", time, scope, Hex(Sha256(canonical)));
  std::string signing_key = Hmac("AWS4" + key.secret, time.substr(0, 8));
  for (const std::string_view part :
       {region, std::string_view("s3"), std::string_view("aws4_request")})
    signing_key = Hmac(signing_key, part);
  call.headers["authorization"] =
      fmt::format("AWS4-HMAC-SHA256 Credential={}/{},SignedHeaders={},Signature={}", key.id, scope,
                  names, Hex(Hmac(signing_key, to_sign)));
}

}  // namespace sightline
