// Shared by the load programs: a plain connection, the server's ledger, its stream, percentiles.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace load {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

[[noreturn]] inline void Fail(const std::string& what) {
  std::fprintf(stderr, "load: %s\n", what.c_str());
  std::exit(1);
}

inline int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// -- options
// ---------------------------------------------------------------------------------------

class Options {
 public:
  Options(int argc, char** argv, std::map<std::string, std::string> defaults)
      : values_(std::move(defaults)) {
    for (int i = 2; i < argc; i += 2) {
      const std::string name = argv[i];
      if (!name.starts_with("--") || !values_.contains(name.substr(2)))
        Fail("unknown option '" + name + "'");
      if (i + 1 == argc) Fail("option '" + name + "' has no value");
      values_[name.substr(2)] = argv[i + 1];
    }
  }
  const std::string& Text(const std::string& name) const { return values_.at(name); }
  double Number(const std::string& name, double least) const {
    const std::string& text = values_.at(name);
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !(value >= least))
      Fail("--" + name + " '" + text + "' is not a number of at least " + std::to_string(least));
    return value;
  }
  int64_t Integer(const std::string& name, int64_t least) const {
    return std::llround(Number(name, static_cast<double>(least)));
  }

 private:
  std::map<std::string, std::string> values_;
};

// -- HTTP
// ------------------------------------------------------------------------------------------

// A blocking connection to 127.0.0.1. Any failure ends the program: on one machine there is none
// that a benchmark should survive.
class Connection {
 public:
  explicit Connection(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd_ < 0 || connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      Fail("cannot connect to port " + std::to_string(port) + ": " + std::strerror(errno));
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const timeval patience{60, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~Connection() { close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) Fail(std::string("cannot send: ") + std::strerror(errno));
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  // Appends what has come to `buffer`; false when the other side has closed or the socket was shut.
  bool Receive(std::string& buffer) {
    const size_t size = buffer.size();
    buffer.resize(size + (64 << 10));
    ssize_t n;
    do {
      n = recv(fd_, buffer.data() + size, 64 << 10, 0);
    } while (n < 0 && errno == EINTR);
    buffer.resize(size + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n < 0) Fail(std::string("no answer: ") + std::strerror(errno));
    return n > 0;
  }
  void ShutDown() { shutdown(fd_, SHUT_RDWR); }

  struct Answer {
    int status = 0;
    std::string body;
  };
  // The next answer; its length must be said.
  Answer ReadAnswer() {
    size_t head_end;
    while ((head_end = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!Receive(buffer_)) Fail("the server closed the connection");
    const std::string_view head(buffer_.data(), head_end + 2);
    Answer answer;
    answer.status = std::atoi(buffer_.c_str() + std::strlen("HTTP/1.1 "));
    constexpr std::string_view kLength = "\r\nContent-Length: ";
    const size_t at = head.find(kLength);
    if (at == std::string_view::npos)
      Fail("an answer without Content-Length: " + std::string(head));
    const size_t length = std::strtoull(buffer_.c_str() + at + kLength.size(), nullptr, 10);
    while (buffer_.size() < head_end + 4 + length)
      if (!Receive(buffer_)) Fail("the server closed the connection");
    answer.body = buffer_.substr(head_end + 4, length);
    buffer_.erase(0, head_end + 4 + length);
    return answer;
  }

 private:
  const int fd_;
  std::string buffer_;
};

inline std::string Request(std::string_view method, std::string_view path, std::string_view body) {
  std::string request;
  request.append(method).append(" ").append(path);
  request += " HTTP/1.1\r\nHost: 127.0.0.1\r\n";
  if (!body.empty())
    request +=
        "Content-Type: application/x-ndjson\r\nContent-Length: " + std::to_string(body.size()) +
        "\r\n";
  return request.append("\r\n").append(body);
}

// The number behind the first `"name":` in `json` from `from` on.
inline std::optional<int64_t> NumberOf(std::string_view json, const std::string& name,
                                       size_t from = 0) {
  const std::string key = "\"" + name + "\":";
  const size_t at = json.find(key, from);
  if (at == std::string_view::npos) return std::nullopt;
  const char* begin = json.data() + at + key.size();
  if (*begin == '"') ++begin;
  int64_t value = 0;
  if (std::from_chars(begin, json.data() + json.size(), value).ec != std::errc())
    return std::nullopt;
  return value;
}

struct Ledger {
  int64_t received = 0, counted = 0, malformed = 0, too_late = 0, future = 0;
};
inline Ledger ReadLedger(uint16_t port) {
  Connection connection(port);
  connection.Send(Request("GET", "/v1/ledger", ""));
  const Connection::Answer answer = connection.ReadAnswer();
  auto number = [&](const char* name) {
    const auto value = NumberOf(answer.body, name);
    if (answer.status != 200 || !value) Fail("/v1/ledger says " + answer.body);
    return *value;
  };
  return {number("received"), number("counted"), number("malformed"), number("too_late"),
          number("future")};
}

// Until the ledger has received that much; the moment when it had.
inline Clock::time_point WaitReceived(uint16_t port, int64_t received) {
  int64_t last = -1;
  auto last_change = Clock::now();
  for (;;) {
    const Ledger ledger = ReadLedger(port);
    const auto now = Clock::now();
    if (ledger.received == received) return now;
    if (ledger.received > received)
      Fail("the ledger has received " + std::to_string(ledger.received) + ", sent were " +
           std::to_string(received));
    if (std::exchange(last, ledger.received) != ledger.received) last_change = now;
    if (now - last_change > std::chrono::seconds(20))
      Fail("the ledger stands still at " + std::to_string(ledger.received) + " received of " +
           std::to_string(received));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

inline void CheckLedger(const Ledger& before, const Ledger& after, int64_t sent, int64_t distinct) {
  auto check = [](const char* name, int64_t grown, int64_t wanted) {
    if (grown != wanted)
      Fail(std::string("the ledger's ") + name + " grew by " + std::to_string(grown) + ", not " +
           std::to_string(wanted));
  };
  check("received", after.received - before.received, sent);
  check("counted", after.counted - before.counted, distinct);
  check("malformed", after.malformed - before.malformed, 0);
  check("too_late", after.too_late - before.too_late, 0);
  check("future", after.future - before.future, 0);
}

inline double Percentile(std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  const auto at = static_cast<size_t>(std::lround(part * static_cast<double>(sorted.size() - 1)));
  return sorted[at];
}

inline std::string PercentilesJson(std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  char text[160];
  std::snprintf(text, sizeof text,
                "{\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p99.9\":%.2f,\"max\":%.2f}",
                Percentile(ms, 0.5), Percentile(ms, 0.9), Percentile(ms, 0.99),
                Percentile(ms, 0.999), ms.empty() ? 0 : ms.back());
  return text;
}

// -- events
// ----------------------------------------------------------------------------------------

constexpr std::array<const char*, 20> kItems = {
    "person",    "car",   "bicycle",  "bus",     "truck",    "dog",    "motorcycle",
    "backpack",  "bench", "umbrella", "handbag", "suitcase", "cat",    "train",
    "stop sign", "bird",  "boat",     "bottle",  "chair",    "scooter"};

inline void AppendDetection(std::string& out, int64_t location, int64_t camera, int64_t id,
                            const char* item, int64_t time_ms) {
  char line[256];
  const int size = std::snprintf(
      line, sizeof line,
      "{\"geographical_location_oid\":%lld,\"video_camera_oid\":%lld,\"detection_oid\":%lld,"
      "\"item_name\":\"%s\",\"timestamp_detected\":%lld}\n",
      static_cast<long long>(location), static_cast<long long>(camera), static_cast<long long>(id),
      item, static_cast<long long>(time_ms));
  out.append(line, static_cast<size_t>(size));
}

// Of 62 bits, the upper ones random: no two runs share ids, locations or cameras.
inline int64_t RandomBase() {
  uint64_t random = 0;
  if (getrandom(&random, sizeof random, 0) != sizeof random) Fail("no random numbers");
  return static_cast<int64_t>(random >> 2 & ~((uint64_t{1} << 36) - 1));
}

// When each location's total first included each of its events.
class StreamReader {
 public:
  // `events` of each location base, base + 1, ...
  StreamReader(uint16_t port, int64_t base, size_t locations, size_t events)
      : connection_(port),
        base_(base),
        arrived_(locations, std::vector<Clock::time_point>(events)),
        totals_(locations) {
    connection_.Send(Request("GET", "/v1/stream?location=all&window=60m&limit=10", ""));
    while (buffer_.find("\r\n\r\n") == std::string::npos)
      if (!connection_.Receive(buffer_)) Fail("no stream");
    if (!buffer_.starts_with("HTTP/1.1 200")) Fail("no stream: " + buffer_.substr(0, 200));
    buffer_.erase(0, buffer_.find("\r\n\r\n") + 4);
    while (messages_ == 0) TakeSome();  // the snapshot: from here on, changes
    thread_ = std::thread([this] {
      while (!stop_ && TakeSome()) {
      }
    });
  }
  ~StreamReader() { Stop(); }

  int64_t seen() const { return seen_; }
  // Afterwards the others may be read.
  void Stop() {
    stop_ = true;
    connection_.ShutDown();
    if (thread_.joinable()) thread_.join();
  }
  Clock::time_point arrived(size_t location, size_t event) const {
    return arrived_[location][event];
  }
  int64_t messages() const { return messages_; }
  int64_t bytes() const { return bytes_; }

 private:
  bool TakeSome() {
    const size_t size = buffer_.size();
    if (!connection_.Receive(buffer_)) return false;
    const auto now = Clock::now();
    bytes_ += static_cast<int64_t>(buffer_.size() - size);
    size_t begin = 0;
    for (size_t end; (end = buffer_.find("\n\n", begin)) != std::string::npos; begin = end + 2)
      Take(std::string_view(buffer_).substr(begin, end - begin), now);
    buffer_.erase(0, begin);
    return true;
  }

  void Take(std::string_view message, Clock::time_point now) {
    ++messages_;
    // Quotes inside of names are escaped, so this is found only where a location begins. Heartbeats
    // have none.
    constexpr std::string_view kLocation = "{\"oid\":\"";
    for (size_t at = 0; (at = message.find(kLocation, at)) != std::string_view::npos; ++at) {
      const int64_t oid = NumberOf(message, "oid", at).value_or(0);
      const auto total = NumberOf(message, "total", at);
      if (!total) Fail("a location without total: " + std::string(message.substr(at, 200)));
      if (oid < base_ || oid >= base_ + static_cast<int64_t>(arrived_.size())) continue;
      const auto location = static_cast<size_t>(oid - base_);
      if (*total > static_cast<int64_t>(arrived_[location].size()))
        Fail("location " + std::to_string(oid) + " has " + std::to_string(*total) +
             ", more than was ever sent");
      while (totals_[location] < *total) {
        arrived_[location][static_cast<size_t>(totals_[location]++)] = now;
        ++seen_;
      }
    }
  }

  Connection connection_;
  const int64_t base_;
  std::vector<std::vector<Clock::time_point>> arrived_;
  std::vector<int64_t> totals_;
  std::string buffer_;
  int64_t messages_ = 0, bytes_ = 0;
  std::atomic<int64_t> seen_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace load
