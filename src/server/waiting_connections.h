// WaitingConnections: the connections that wait for a request, by client, so that a full server can
// close one of them to make room.
//
// A client that opens connections and asks nothing loses its own ones first. Clients behind one
// proxy are one client here, which is why there is no limit for each: only a full server closes
// anything. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace sightline {

class Connection;
struct Worker;

class WaitingConnections {
 public:
  struct Waiting {
    std::weak_ptr<Connection> connection;
    Worker* worker = nullptr;  // on whose thread the connection may be touched
    int64_t ticket = 0;        // names this wait: the connection may have ended it meanwhile
  };

  // The connection begins to wait. `client`: its address. Returns the wait's ticket, never 0.
  int64_t Add(const std::string& client, std::weak_ptr<Connection> connection, Worker* worker);
  // The wait is over. Without effect if Take() has taken it.
  void Remove(const std::string& client, int64_t ticket);
  // Takes the longest wait of the client that has the most. Nothing if no client has two: the only
  // one of a client is not taken from it.
  std::optional<Waiting> Take();

 private:
  std::mutex mutex_;
  // Under mutex_.
  int64_t next_ticket_ = 1;
  std::unordered_map<std::string, std::map<int64_t, Waiting>> clients_;  // the oldest ticket first
};

}  // namespace sightline
