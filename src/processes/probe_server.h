// ProbeServer: serves the probes, /metrics and /v1/alerts of a process that has no page.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "config/options.h"
#include "live/hub.h"
#include "live/live.h"
#include "server/server.h"

namespace sightline {

// The functions of ServerPorts and HubOptions that such a process has. The server's threads call
// them.
struct ProbeServerPorts {
  std::function<std::vector<Metric>()> metrics;
  std::function<Health()> health, alive, ready;
  std::function<std::string(const Scope&)> alerts;
  std::function<int64_t()> alerts_version;
};

class ProbeServer {
 public:
  // kStop: it cannot listen there.
  static Result<std::unique_ptr<ProbeServer>> Start(const Settings& options, const Clock& clock,
                                                    ProbeServerPorts ports);
  ~ProbeServer();
  ProbeServer(const ProbeServer&) = delete;
  ProbeServer& operator=(const ProbeServer&) = delete;

  // From its return on, no request is answered and no function is called.
  void Stop();
  const std::string& url() const { return url_; }
  std::string boot() const { return hub_->boot(); }

 private:
  // Such a process takes no detections: senders write to the topic.
  class NoDetections final : public DetectionLog {
   public:
    int32_t partitions() const override { return 1; }
    bool Append(std::vector<PackedRecords>, std::function<void(Status)>) override { return false; }
  };
  ProbeServer() = default;

  NoDetections no_detections_;
  std::unique_ptr<Live> live_;  // empty: the page belongs to `serve`
  std::unique_ptr<Hub> hub_;
  std::unique_ptr<Server> server_;
  std::string url_;
};

}  // namespace sightline
