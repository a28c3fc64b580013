// DiagnoseServer(): what the answers of a running server say about its events. Pure.
#pragma once

#include <string_view>

#include "base/status.h"
#include "doctor/diagnosis.h"

namespace sightline {

// The bodies of its answers (docs/PROTOCOL.md).
struct ServerAnswers {
  std::string_view healthz;
  std::string_view ledger;  // /v1/ledger?group=camera&format=json
  std::string_view alerts;  // /v1/alerts
};

// Whether an answer to /healthz is that of a Sightline server.
bool IsHealthAnswer(std::string_view body);

// kStop: an answer is not that of such a server.
Result<Diagnosis> DiagnoseServer(const ServerAnswers& answers);

}  // namespace sightline
