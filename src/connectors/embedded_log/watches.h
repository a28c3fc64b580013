// Watches: who wants to know when new records of a topic are durable.
//
// Thread-safe. Callbacks run under its lock, so that none runs once its watch is gone.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace sightline::embedded_log {

class Watches {
 public:
  int64_t Add(std::string_view topic, std::function<void(int32_t)> callback) {
    const std::lock_guard lock(mutex_);
    watches_.emplace(++last_id_, Watch{std::string(topic), std::move(callback)});
    return last_id_;
  }
  void Remove(int64_t id) {
    const std::lock_guard lock(mutex_);
    watches_.erase(id);
  }
  void Call(std::string_view topic, int32_t partition) const {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, watch] : watches_)
      if (watch.topic == topic) watch.callback(partition);
  }

 private:
  struct Watch {
    std::string topic;
    std::function<void(int32_t)> callback;
  };
  mutable std::mutex mutex_;
  std::map<int64_t, Watch> watches_;
  int64_t last_id_ = 0;
};

}  // namespace sightline::embedded_log
