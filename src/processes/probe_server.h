// BareServer: the server of a process without a page of its own: probes, /metrics, /v1/alerts.
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

// As of ServerPorts and HubOptions. Called on the server's threads.
struct BareServerPorts {
  std::function<std::vector<Metric>()> metrics;
  std::function<Health()> health, alive, ready;
  std::function<std::string(const Scope&)> alerts;
  std::function<int64_t()> alerts_version;
};

class BareServer {
 public:
  // kStop: it cannot listen there.
  static Result<std::unique_ptr<BareServer>> Start(const Settings& options, const Clock& clock,
                                                   BareServerPorts ports);
  ~BareServer();
  BareServer(const BareServer&) = delete;
  BareServer& operator=(const BareServer&) = delete;

  // Nobody is answered any more, and the functions are not called.
  void Stop();
  const std::string& url() const { return url_; }
  std::string boot() const { return hub_->boot(); }

 private:
  // A process that counts, or hands on, has no door for detections: they go to the topic.
  class NoDetections final : public DetectionLog {
   public:
    int32_t partitions() const override { return 1; }
    bool Append(std::vector<PackedRecords>, std::function<void(Status)>) override { return false; }
  };
  BareServer() = default;

  NoDetections no_detections_;
  std::unique_ptr<Live> live_;  // empty: the page belongs to `serve`
  std::unique_ptr<Hub> hub_;
  std::unique_ptr<Server> server_;
  std::string url_;
};

}  // namespace sightline
