#include "doctor/server_answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "doctor/wording.h"

namespace sightline {
namespace {

namespace json = boost::json;

struct Trouble {
  std::string_view column;  // of the ledger
  std::string_view subject, follows;
};
constexpr std::array<Trouble, 5> kTroubles = {{
    {"malformed", "malformed",
     "They are in the dead letters, with their reasons. Ask `sightline doctor` of a file or a "
     "topic "
     "with such detections what is wrong with them."},
    {"future", "camera_clock",
     "The clocks of these cameras are ahead by more than pipeline.future_tolerance. Set them; "
     "`sightline redrive` sends the events again once their time has come."},
    {"too_late", "dedup_horizon",
     "They came later than pipeline.dedup_horizon behind their camera's newest ones, or were older "
     "than pipeline.max_age. This pipeline keeps its settings: send them to one with a longer "
     "horizon (`sightline redrive --outcome too_late --url`)."},
    {"conflicts", "conflicts",
     "Copies contradict the first one in camera, location or item. If ids are unique for each "
     "camera only, a new pipeline needs pipeline.identity = camera_and_detection; if trackers "
     "number again, a shorter pipeline.dedup_horizon."},
    {"lost", "lost", "Retention removed them before they were counted (docs/ALERTS.md)."},
}};

int64_t NumberAt(const json::object& row, std::string_view column) {
  const json::value* value = row.if_contains(column);
  if (value == nullptr) return 0;
  boost::system::error_code error;
  const auto number = value->to_number<int64_t>(error);
  return error ? 0 : number;
}

std::string TextAt(const json::object& row, std::string_view name) {
  const json::value* value = row.if_contains(name);
  if (value == nullptr || value->is_null()) return "unknown";
  return value->is_string() ? std::string(value->get_string()) : json::serialize(*value);
}

Result<json::value> Parsed(std::string_view body, std::string_view what) {
  boost::system::error_code error;
  json::value value = json::parse({body.data(), body.size()}, error);
  if (error) return Status::Stop(fmt::format("the answer to {} is not JSON", what));
  return value;
}

void ReportLedger(const json::array& rows, Diagnosis& diagnosis) {
  for (const Trouble& trouble : kTroubles) {
    int64_t events = 0, received = 0;
    std::vector<std::pair<int64_t, std::string>> cameras;
    for (const json::value& value : rows) {
      const json::object* row = value.if_object();
      if (row == nullptr) continue;
      received += NumberAt(*row, "received");
      const int64_t of_camera = NumberAt(*row, trouble.column);
      events += of_camera;
      if (of_camera > 0) cameras.emplace_back(of_camera, TextAt(*row, "video_camera_oid"));
    }
    if (events == 0) continue;
    std::ranges::sort(cameras, std::greater<>());
    std::vector<std::string> names;
    for (const auto& [of_camera, camera] : cameras)
      names.push_back(fmt::format("camera {} {}", camera, of_camera));
    diagnosis.findings.push_back(
        {.severity = Severity::kTrouble,
         .subject = std::string(trouble.subject),
         .seen = fmt::format("of {} received events, {} are `{}`: {}", received, events,
                             trouble.column, ListText(names)),
         .follows = std::string(trouble.follows)});
  }
}

}  // namespace

bool IsHealthAnswer(std::string_view body) {
  const Result<json::value> value = Parsed(body, "/healthz");
  const json::object* object = value.ok() ? value.value().if_object() : nullptr;
  return object != nullptr && object->contains("status") && object->contains("reasons") &&
         object->contains("boot");
}

Result<Diagnosis> DiagnoseServer(const ServerAnswers& answers) {
  const Result<json::value> health = Parsed(answers.healthz, "/healthz");
  if (!health.ok()) return health.status();
  const Result<json::value> ledger = Parsed(answers.ledger, "/v1/ledger");
  if (!ledger.ok()) return ledger.status();
  const Result<json::value> alerts = Parsed(answers.alerts, "/v1/alerts");
  if (!alerts.ok()) return alerts.status();
  const json::array* rows = ledger.value().if_array();
  const json::object* told = alerts.value().if_object();
  const json::object* state = health.value().if_object();
  if (rows == nullptr || told == nullptr || state == nullptr)
    return Status::Stop("its answers are not those of a Sightline server");
  Diagnosis diagnosis;
  int64_t received = 0, counted = 0;
  for (const json::value& row : *rows)
    if (const json::object* object = row.if_object()) {
      received += NumberAt(*object, "received");
      counted += NumberAt(*object, "counted");
    }
  diagnosis.sampled = fmt::format("The server has received {} events of {} cameras and counted {}",
                                  received, rows->size(), counted);
  if (const json::value* reasons = state->if_contains("reasons"); reasons && reasons->is_array())
    for (const json::value& reason : reasons->get_array())
      diagnosis.findings.push_back(
          {.severity = Severity::kTrouble,
           .subject = "health",
           .seen = reason.is_string() ? std::string(reason.get_string()) : json::serialize(reason),
           .follows = "/healthz says so until it is corrected (docs/OPERATIONS.md)."});
  ReportLedger(*rows, diagnosis);
  if (const json::value* list = told->if_contains("alerts"); list && list->is_array())
    for (const json::value& alert : list->get_array())
      if (const json::object* object = alert.if_object())
        diagnosis.findings.push_back({.severity = Severity::kTrouble,
                                      .subject = "alert." + TextAt(*object, "rule"),
                                      .seen = TextAt(*object, "text"),
                                      .follows = "docs/ALERTS.md says what to do."});
  return diagnosis;
}

}  // namespace sightline
