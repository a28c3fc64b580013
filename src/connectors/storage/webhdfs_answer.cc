#include "connectors/storage/webhdfs_answer.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <string_view>

namespace sightline {
namespace {

namespace json = boost::json;
using Kind = HdfsVerdict::Kind;

struct Refusal {
  std::string exception, message;
};

struct Rule {
  std::string_view exception;  // how its name ends: Ranger puts its own in front
  Kind kind;
  StatusCode code;
  std::string_view advice;
};

// Quotas are as a full disk: nothing happened, and a later call may succeed.
constexpr Rule kRules[] = {
    {"FileNotFoundException", Kind::kAbsent, StatusCode::kRetry, "put it back"},
    {"FileAlreadyExistsException", Kind::kTaken, StatusCode::kStop, "move it away"},
    {"SafeModeException", Kind::kFailed, StatusCode::kRetry,
     "wait until the NameNode has left safe mode, or end it with 'hdfs dfsadmin -safemode leave'"},
    {"NSQuotaExceededException", Kind::kFailed, StatusCode::kRetry,
     "raise the quota of names with 'hdfs dfsadmin -setQuota', or delete files"},
    {"DSQuotaExceededException", Kind::kFailed, StatusCode::kRetry,
     "raise the quota of space with 'hdfs dfsadmin -setSpaceQuota', or delete files; a file that "
     "is written needs room for a whole block of each copy"},
    {"QuotaByStorageTypeExceededException", Kind::kFailed, StatusCode::kRetry,
     "raise the quota of this kind of storage, or delete files"},
    {"AccessControlException", Kind::kFailed, StatusCode::kStop,
     "give this user the right, in HDFS or in Ranger"},
    {"AuthorizationException", Kind::kFailed, StatusCode::kStop,
     "give this user the right, in HDFS or in Ranger"},
    {"InvalidToken", Kind::kFailed, StatusCode::kStop,
     "put a delegation token that is valid into token_file"},
    {"SecurityException", Kind::kFailed, StatusCode::kStop,
     "correct user or token_file of this HDFS"},
    {"StandbyException", Kind::kAgain, StatusCode::kRetry,
     "name the other NameNodes in namenodes, too"},
    {"ParentNotDirectoryException", Kind::kFailed, StatusCode::kStop,
     "move the file that lies in the way"},
    {"PathIsNotEmptyDirectoryException", Kind::kFailed, StatusCode::kStop,
     "move the directory away"},
    {"InvalidPathException", Kind::kFailed, StatusCode::kStop, "choose another path"},
    {"IllegalArgumentException", Kind::kFailed, StatusCode::kStop,
     "correct the settings of this HDFS"},
    {"UnsupportedOperationException", Kind::kFailed, StatusCode::kStop,
     "switch WebHDFS on: dfs.webhdfs.enabled"},
};

json::value Parsed(const std::string& body) {
  json::error_code error;
  json::value value = json::parse(body, error);
  return error ? json::value() : value;
}

const json::value* Member(const json::value& value, std::string_view name) {
  const json::object* const object = value.if_object();
  return object != nullptr ? object->if_contains(name) : nullptr;
}

std::string Text(const json::value& value, std::string_view name) {
  const json::value* const member = Member(value, name);
  return member != nullptr && member->is_string() ? std::string(member->get_string()) : "";
}

int64_t Number(const json::value& value, std::string_view name) {
  const json::value* const member = Member(value, name);
  return member != nullptr && member->is_int64() ? member->get_int64() : 0;
}

// Empty if the body is not a refusal of WebHDFS. The server's stack trace is left out.
Refusal ReadRefusal(const std::string& body) {
  const json::value value = Parsed(body);
  const json::value* const remote = Member(value, "RemoteException");
  if (remote == nullptr) return {};
  const std::string message = Text(*remote, "message");
  return {Text(*remote, "exception"), message.substr(0, message.find("\n\tat "))};
}

HdfsVerdict Unanswered(const HttpAnswer& answer) {
  return {Kind::kAgain, StatusCode::kRetry,
          answer.error +
              "; check that this server runs, and that its name and certificate are "
              "known here (namenodes, ca_file)",
          answer.connected};
}

HdfsVerdict JudgeRefusal(int32_t status, const Refusal& refusal) {
  const std::string text =
      fmt::format("HTTP {}, {}: {}", status, refusal.exception, refusal.message);
  if (refusal.message.find(" out of the range [0, ") != std::string::npos ||
      refusal.message.find("Cannot seek after EOF") != std::string::npos)
    return {Kind::kBeyond, StatusCode::kRetry, text};
  for (const Rule& rule : kRules)
    if (refusal.exception.ends_with(rule.exception))
      return {rule.kind, rule.code, fmt::format("{}; {}", text, rule.advice)};
  // For example, that no DataNode can take a block.
  return {Kind::kAgain, StatusCode::kRetry, text + "; look at the state of the cluster",
          status >= 500};
}

HdfsFile FileOf(const json::value& status) {
  const std::string type = Text(status, "type");
  return {.name = Text(status, "pathSuffix"),
          .is_directory = type == "DIRECTORY",
          .is_file = type == "FILE",
          .size_bytes = Number(status, "length"),
          .modified_ms = Number(status, "modificationTime")};
}

}  // namespace

HdfsVerdict JudgeHdfsAnswer(const HttpAnswer& answer) {
  const int32_t status = answer.status;
  if (status == 0) return Unanswered(answer);
  if (status == 200 || status == 201) return {};
  const Refusal refusal = ReadRefusal(answer.body);
  if (!refusal.exception.empty()) return JudgeRefusal(status, refusal);
  const std::string text = fmt::format("HTTP {}", status);
  if (status == 401)
    return {Kind::kFailed, StatusCode::kStop, text + "; correct user or token_file of this HDFS"};
  if (status == 429 || status >= 500)
    return {Kind::kAgain, StatusCode::kRetry, text + "; look at this server's log", status >= 500};
  return {Kind::kFailed, StatusCode::kStop,
          text + ", without a reason of WebHDFS; check that namenodes and base_path lead to it"};
}

Result<std::vector<HdfsFile>> ReadHdfsFiles(const std::string& body) {
  const json::value value = Parsed(body);
  std::vector<HdfsFile> files;
  const json::value* const one = Member(value, "FileStatus");
  if (one != nullptr && one->is_object()) {
    files.push_back(FileOf(*one));
    return files;
  }
  const json::value* const all = Member(value, "FileStatuses");
  const json::value* const list = all != nullptr ? Member(*all, "FileStatus") : nullptr;
  if (list == nullptr || !list->is_array())
    return Status::Retry("the answer is not one of WebHDFS");
  for (const json::value& status : list->get_array()) files.push_back(FileOf(status));
  return files;
}

bool SaysTrue(const std::string& body) {
  const json::value value = Parsed(body);
  const json::value* const member = Member(value, "boolean");
  return member == nullptr || !member->is_bool() || member->get_bool();
}

}  // namespace sightline
