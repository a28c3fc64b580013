#include "admin/redrive_cursor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "connectors/locations/location_file.h"

namespace sightline {

void OffsetSet::Add(Offset first, Offset next) {
  if (first >= next) return;
  int64_t begin = first.v, end = next.v;
  auto it = ranges_.upper_bound(begin);
  if (it != ranges_.begin() && std::prev(it)->second >= begin) --it;
  while (it != ranges_.end() && it->first <= end) {
    begin = std::min(begin, it->first);
    end = std::max(end, it->second);
    it = ranges_.erase(it);
  }
  ranges_[begin] = end;
}

bool OffsetSet::Contains(Offset offset) const {
  const auto it = ranges_.upper_bound(offset.v);
  return it != ranges_.begin() && std::prev(it)->second > offset.v;
}

Result<RedriveCursor> RedriveCursor::Open(const std::string& data, const std::string& log_id,
                                          bool dry_run) {
  RedriveCursor cursor;
  cursor.path_ = (std::filesystem::path(data) / "redrive.json").string();
  cursor.log_id_ = log_id;
  if (!dry_run) {
    const std::string lock = (std::filesystem::path(data) / "redrive.lock").string();
    cursor.lock_ = open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (cursor.lock_ < 0)
      return Status::Stop(fmt::format("cannot open '{}': {}", lock, std::strerror(errno)));
    if (flock(cursor.lock_, LOCK_EX | LOCK_NB) != 0)
      return Status::Stop(fmt::format("another redrive of '{}' runs: wait for it", data));
  }
  std::error_code none;
  if (!std::filesystem::exists(cursor.path_, none)) return cursor;
  std::ifstream file(cursor.path_, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  try {
    const boost::json::object all = boost::json::parse(text).as_object();
    if (std::string_view(all.at("log").as_string()) != log_id) return cursor;
    for (const auto& [name, ranges] : all.at("sent").as_object())
      for (const boost::json::value& range : ranges.as_array())
        cursor.sent_[std::string(name)].Add({range.as_array().at(0).as_int64()},
                                            {range.as_array().at(1).as_int64()});
  } catch (const std::exception& error) {
    return Status::Stop(fmt::format(
        "'{}' is damaged ({}): delete it to send everything again; copies are dropped as long as "
        "they are remembered",
        cursor.path_, error.what()));
  }
  return cursor;
}

RedriveCursor::~RedriveCursor() {
  if (lock_ >= 0) close(lock_);
}
RedriveCursor::RedriveCursor(RedriveCursor&& other) noexcept
    : path_(std::move(other.path_)),
      log_id_(std::move(other.log_id_)),
      lock_(std::exchange(other.lock_, -1)),
      sent_(std::move(other.sent_)) {}

OffsetSet& RedriveCursor::Of(std::string_view topic, int32_t partition) {
  return sent_[fmt::format("{}/{}", topic, partition)];
}

Status RedriveCursor::Save() const {
  boost::json::object sent;
  for (const auto& [name, set] : sent_) {
    boost::json::array ranges;
    for (const auto& [first, next] : set.ranges())
      ranges.push_back(boost::json::array{first, next});
    if (!ranges.empty()) sent[name] = std::move(ranges);
  }
  const boost::json::object all{{"log", log_id_}, {"sent", std::move(sent)}};
  return WriteFileWhole(path_, boost::json::serialize(all) + "\n");
}

}  // namespace sightline
