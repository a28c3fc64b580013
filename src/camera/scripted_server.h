// ScriptedServer: a small HTTP/1.1 server on a loopback port, for tests of real connections.
//
// One thread accepts connections, and another one serves each of them. Answers are raw bytes, so
// that a test can play any server, or anything that pretends to be one.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"

namespace sightline {

class ScriptedServer {
 public:
  struct Request {
    std::string head;  // lower case, with its line breaks
    std::string body;
    int32_t connection = 0;  // counts from 1
  };
  // Called by one thread at a time. An empty answer sends nothing, and the client waits.
  using Handler = std::function<std::string(const Request&)>;

  // `port` 0: any free one.
  explicit ScriptedServer(Handler handler, uint16_t port = 0) : handler_(std::move(handler)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    CHECK(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    CHECK(::listen(listener_, 16) == 0);
    socklen_t size = sizeof address;
    CHECK(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { Accept(); });
  }
  ~ScriptedServer() {
    stop_ = true;
    accepting_.join();
    for (std::thread& connection : connections_) connection.join();
    ::close(listener_);
  }

  uint16_t port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  static std::string Answer(const std::string& status, const std::string& body,
                            const std::string& headers = "") {
    return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
           headers + "\r\n" + body;
  }

 private:
  void Accept() {
    while (WaitReadable(listener_)) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      const auto number = static_cast<int32_t>(connections_.size()) + 1;
      connections_.emplace_back([this, fd, number] {
        Serve(fd, number);
        ::close(fd);
      });
    }
  }
  void Serve(int fd, int32_t number) {
    std::string bytes;
    while (true) {
      size_t head_end = std::string::npos;
      while ((head_end = bytes.find("\r\n\r\n")) == std::string::npos)
        if (!Read(fd, &bytes)) return;
      Request request{bytes.substr(0, head_end + 2), "", number};
      std::transform(request.head.begin(), request.head.end(), request.head.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      const size_t length_at = request.head.find("content-length: ");
      const size_t length = length_at == std::string::npos
                                ? 0
                                : std::strtoul(request.head.c_str() + length_at + 16, nullptr, 10);
      while (bytes.size() < head_end + 4 + length)
        if (!Read(fd, &bytes)) return;
      request.body = bytes.substr(head_end + 4, length);
      bytes.erase(0, head_end + 4 + length);
      std::string answer;
      {
        const std::lock_guard lock(mutex_);
        answer = handler_(request);
      }
      for (size_t sent = 0; sent < answer.size();) {
        const ssize_t wrote = ::send(fd, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
        if (wrote <= 0) return;
        sent += static_cast<size_t>(wrote);
      }
    }
  }
  bool WaitReadable(int fd) {
    pollfd ready{fd, POLLIN, 0};
    while (!stop_)
      if (::poll(&ready, 1, 5) > 0) return true;
    return false;
  }
  bool Read(int fd, std::string* bytes) {
    if (!WaitReadable(fd)) return false;
    char piece[16 << 10];
    const ssize_t got = ::recv(fd, piece, sizeof piece, 0);
    if (got > 0) bytes->append(piece, static_cast<size_t>(got));
    return got > 0;
  }

  std::mutex mutex_;
  const Handler handler_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::atomic<bool> stop_{false};
  std::thread accepting_;
  std::vector<std::thread> connections_;  // of the accepting thread
};

}  // namespace sightline
