#include "connectors/storage/s3_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <pugixml.hpp>
#include <sstream>

namespace sightline {
namespace {

using Kind = S3Verdict::Kind;

struct Refusal {
  std::string code, message;
  std::string region;  // where the bucket is, if the server says so
};

struct Rule {
  std::string_view code;
  Kind kind;
  StatusCode status;
  std::string_view advice;
};

constexpr std::string_view kWhichKey =
    "correct the key in access_key_file, in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in the "
    "profile";
constexpr std::string_view kNewKey =
    "renew the temporary key: write a new one into access_key_file or the profile, or let a role "
    "give it";
constexpr std::string_view kSlower = "the server asks for fewer requests; look at its load";
constexpr std::string_view kServersLog = "look at this server's log";
constexpr std::string_view kKms = "give this key the rights kms:GenerateDataKey and kms:Decrypt";

// A full disk and a quota are kRetry: nothing happened, and a later call may succeed.
constexpr Rule kRules[] = {
    {"NoSuchKey", Kind::kAbsent, StatusCode::kRetry, "put it back"},
    {"NoSuchUpload", Kind::kNoUpload, StatusCode::kRetry,
     "somebody else has ended this upload, perhaps a lifecycle rule"},
    {"PreconditionFailed", Kind::kTaken, StatusCode::kStop, "move the file away"},
    {"InvalidRange", Kind::kBeyond, StatusCode::kRetry, "read less"},
    {"NoSuchBucket", Kind::kFailed, StatusCode::kStop,
     "create the bucket, or correct its name or the endpoint"},
    {"SignatureDoesNotMatch", Kind::kFailed, StatusCode::kStop, kWhichKey},
    {"InvalidAccessKeyId", Kind::kFailed, StatusCode::kStop, kWhichKey},
    {"InvalidSecurity", Kind::kFailed, StatusCode::kStop, kWhichKey},
    {"ExpiredToken", Kind::kFailed, StatusCode::kStop, kNewKey},
    {"InvalidToken", Kind::kFailed, StatusCode::kStop, kNewKey},
    {"TokenRefreshRequired", Kind::kFailed, StatusCode::kStop, kNewKey},
    {"SlowDown", Kind::kAgain, StatusCode::kRetry, kSlower},
    {"TooManyRequests", Kind::kAgain, StatusCode::kRetry, kSlower},
    {"RequestLimitExceeded", Kind::kAgain, StatusCode::kRetry, kSlower},
    // The body did not arrive as it was sent.
    {"RequestTimeout", Kind::kAgain, StatusCode::kRetry, "look at the network"},
    {"IncompleteBody", Kind::kAgain, StatusCode::kRetry, "look at the network"},
    {"BadDigest", Kind::kAgain, StatusCode::kRetry, "look at the network"},
    {"XAmzContentSHA256Mismatch", Kind::kAgain, StatusCode::kRetry, "look at the network"},
    // Somebody else changes the same name at this moment.
    {"ConditionalRequestConflict", Kind::kAgain, StatusCode::kRetry, kServersLog},
    {"OperationAborted", Kind::kAgain, StatusCode::kRetry, kServersLog},
    {"QuotaExceeded", Kind::kFailed, StatusCode::kRetry, "raise the quota, or delete files"},
    {"XAmzMinioStorageFull", Kind::kFailed, StatusCode::kRetry, "add space, or delete files"},
    {"XMinioStorageFull", Kind::kFailed, StatusCode::kRetry, "add space, or delete files"},
    {"EntityTooLarge", Kind::kFailed, StatusCode::kStop, "this server takes smaller files only"},
    {"AccountProblem", Kind::kFailed, StatusCode::kStop, "ask who runs this service"},
    {"ObjectParentIsFile", Kind::kFailed, StatusCode::kStop, "move the file that lies in the way"},
    {"XMinioParentIsObject", Kind::kFailed, StatusCode::kStop,
     "move the file that lies in the way"},
    {"ExistingObjectIsDirectory", Kind::kFailed, StatusCode::kStop,
     "move the folder that lies in the way"},
};

std::optional<pugi::xml_node> Root(pugi::xml_document& document, std::string_view body,
                                   const char* name) {
  if (!document.load_buffer(body.data(), body.size())) return std::nullopt;
  const pugi::xml_node root = document.child(name);
  return root ? std::optional(root) : std::nullopt;
}

std::string Text(const pugi::xml_node& node, const char* name) { return node.child_value(name); }

Refusal ReadRefusal(std::string_view body) {
  pugi::xml_document document;
  const auto root = Root(document, body, "Error");
  if (!root) return {};
  return {Text(*root, "Code"), Text(*root, "Message"), Text(*root, "Region")};
}

S3Verdict Unanswered(const HttpAnswer& answer) {
  return {Kind::kAgain, StatusCode::kRetry,
          answer.error +
              "; check that this server runs, and that its name and certificate are known here "
              "(endpoint, path_style, ca_file)",
          answer.connected};
}

std::string Length(int64_t seconds) {
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 7'200) return fmt::format("{} min", seconds / 60);
  return fmt::format("{} h {} min", seconds / 3'600, seconds / 60 % 60);
}

S3Verdict Skewed(const HttpAnswer& answer, const std::string& text, int64_t now_ms) {
  std::string by;
  if (answer.date_ms > 0)
    by =
        fmt::format(": it is {} {} the server's", Length(std::abs(answer.date_ms - now_ms) / 1'000),
                    answer.date_ms > now_ms ? "behind" : "ahead of");
  return {Kind::kSkewed, StatusCode::kStop,
          fmt::format("{}; set the clock of this machine{}", text, by)};
}

// A bucket that is elsewhere; nothing if this does not say so.
std::string OtherRegion(const HttpAnswer& answer, const Refusal& refusal) {
  const auto header = answer.headers.find("x-amz-bucket-region");
  if (header != answer.headers.end() && answer.status / 100 == 3) return header->second;
  return refusal.code == "AuthorizationHeaderMalformed" ? refusal.region : "";
}

S3Verdict JudgeRefusal(const HttpAnswer& answer, const Refusal& refusal, std::string_view right,
                       int64_t now_ms) {
  const std::string text =
      fmt::format("HTTP {}, {}: {}", answer.status, refusal.code, refusal.message);
  const auto failed = [&text](std::string_view advice) {
    return S3Verdict{Kind::kFailed, StatusCode::kStop, fmt::format("{}; {}", text, advice)};
  };
  if (refusal.code == "RequestTimeTooSkewed") return Skewed(answer, text, now_ms);
  if (refusal.code == "AccessDenied") return failed(fmt::format("give this key {}", right));
  if (refusal.code.starts_with("KMS.") || refusal.code.starts_with("Kms")) return failed(kKms);
  const std::string region = OtherRegion(answer, refusal);
  if (!region.empty()) return failed(fmt::format("set region = \"{}\" of this bucket", region));
  for (const Rule& rule : kRules)
    if (refusal.code == rule.code)
      return {rule.kind, rule.status, fmt::format("{}; {}", text, rule.advice)};
  if (answer.status == 429 || answer.status >= 500)
    return {Kind::kAgain, StatusCode::kRetry, fmt::format("{}; {}", text, kServersLog),
            answer.status >= 500};
  return failed("correct the settings of this bucket");
}

// "2026-12-01T11:35:21.123Z"; 0 if it is not a time.
int64_t TimeOf(const std::string& text) {
  using namespace std::chrono;
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, used = 0;
  double second = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%6lf%n", &year, &month, &day, &hour, &minute,
                  &second, &used) != 6 ||
      std::string_view(text).substr(static_cast<size_t>(used)).find_first_not_of("0123456789Z") !=
          std::string_view::npos)
    return 0;
  const year_month_day date{std::chrono::year(year),
                            std::chrono::month(static_cast<unsigned>(month)),
                            std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || !(second >= 0 && second < 61)) return 0;
  const sys_time<milliseconds> time =
      sys_days(date) + hours(hour) + minutes(minute) + milliseconds(std::llround(second * 1'000));
  return time.time_since_epoch().count();
}

int64_t NumberOf(const std::string& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

// As of a query: '+' is a space.
std::string QueryDecoded(std::string text) {
  std::ranges::replace(text, '+', ' ');
  return PercentDecoded(text);
}

}  // namespace

S3Verdict JudgeS3Answer(const HttpAnswer& answer, std::string_view right, int64_t now_ms) {
  const int32_t status = answer.status;
  if (status == 0) return Unanswered(answer);
  if (status == 200 || status == 204 || status == 206) return {};
  const Refusal refusal = ReadRefusal(answer.body);
  if (!refusal.code.empty()) return JudgeRefusal(answer, refusal, right, now_ms);
  const std::string text = fmt::format("HTTP {}", status);
  if (status == 429 || status >= 500)
    return {Kind::kAgain, StatusCode::kRetry, fmt::format("{}; {}", text, kServersLog),
            status >= 500};
  return {Kind::kFailed, StatusCode::kStop,
          text + ", without a reason of S3; check that endpoint leads to it"};
}

Result<S3Page> ReadS3Page(std::string_view body) {
  pugi::xml_document document;
  S3Page page;
  const auto files = Root(document, body, "ListBucketResult");
  const auto root = files ? files : Root(document, body, "ListMultipartUploadsResult");
  if (!root) return Status::Retry("the answer is not a list of S3");
  const bool is_encoded = Text(*root, "EncodingType") == "url";
  const auto name = [&](const pugi::xml_node& node, const char* element) {
    return is_encoded ? QueryDecoded(node.child_value(element)) : Text(node, element);
  };
  for (const pugi::xml_node node : root->children(files ? "Contents" : "Upload")) {
    S3Object object{.key = name(node, "Key"),
                    .upload_id = Text(node, "UploadId"),
                    .size_bytes = NumberOf(Text(node, "Size")),
                    .modified_ms = TimeOf(Text(node, files ? "LastModified" : "Initiated"))};
    if (object.key.empty() || object.modified_ms == 0 || object.upload_id.empty() != !!files)
      return Status::Retry("the answer is a list of S3 with an entry that lacks its name or time");
    page.objects.push_back(std::move(object));
  }
  const std::string is_truncated = Text(*root, "IsTruncated");
  if (is_truncated == "false") return page;
  if (is_truncated != "true")
    return Status::Retry("the answer is a list of S3 that does not say whether it goes on");
  if (files)
    page.next = {{"continuation-token", Text(*root, "NextContinuationToken")}};
  else
    page.next = {{"key-marker", name(*root, "NextKeyMarker")},
                 {"upload-id-marker", Text(*root, "NextUploadIdMarker")}};
  if (page.next.front().second.empty())
    return Status::Retry("the answer is a list of S3 that does not say how it goes on");
  return page;
}

std::optional<std::string> ReadS3UploadId(std::string_view body) {
  pugi::xml_document document;
  const auto root = Root(document, body, "InitiateMultipartUploadResult");
  if (!root || Text(*root, "UploadId").empty()) return std::nullopt;
  return Text(*root, "UploadId");
}

bool SaysCompleted(std::string_view body) {
  pugi::xml_document document;
  return Root(document, body, "CompleteMultipartUploadResult").has_value();
}

std::string S3PartList(const std::vector<std::string>& etags) {
  pugi::xml_document document;
  pugi::xml_node root = document.append_child("CompleteMultipartUpload");
  for (size_t i = 0; i < etags.size(); ++i) {
    pugi::xml_node part = root.append_child("Part");
    part.append_child("PartNumber").text().set(static_cast<unsigned>(i + 1));
    part.append_child("ETag").text().set(etags[i].c_str());
  }
  std::ostringstream text;
  document.save(text, "", pugi::format_raw | pugi::format_no_declaration);
  return text.str();
}

}  // namespace sightline
