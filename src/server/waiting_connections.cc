#include "server/waiting_connections.h"

#include <algorithm>
#include <utility>

namespace sightline {

int64_t WaitingConnections::Add(const std::string& client, std::weak_ptr<Connection> connection,
                                Worker* worker) {
  const std::lock_guard lock(mutex_);
  const int64_t ticket = next_ticket_++;
  clients_[client].emplace(
      ticket, Waiting{.connection = std::move(connection), .worker = worker, .ticket = ticket});
  return ticket;
}

void WaitingConnections::Remove(const std::string& client, int64_t ticket) {
  const std::lock_guard lock(mutex_);
  const auto found = clients_.find(client);
  if (found == clients_.end()) return;
  found->second.erase(ticket);
  if (found->second.empty()) clients_.erase(found);
}

std::optional<WaitingConnections::Waiting> WaitingConnections::Take() {
  const std::lock_guard lock(mutex_);
  const auto most = std::max_element(
      clients_.begin(), clients_.end(),
      [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
  if (most == clients_.end() || most->second.size() < 2) return std::nullopt;
  const auto longest = most->second.begin();
  Waiting taken = std::move(longest->second);
  most->second.erase(longest);
  return taken;
}

}  // namespace sightline
