#include "app/process.h"

#include <fmt/format.h>

#include <csignal>
#include <ctime>

namespace sightline {

bool StopAsked() {
  sigset_t pending;
  return sigpending(&pending) == 0 &&
         (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

Status WaitForStop(Millis interval, const std::function<Status()>& tick) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  const timespec wait{interval.v / 1'000, interval.v % 1'000 * 1'000'000};
  while (sigtimedwait(&signals, nullptr, &wait) < 0) RETURN_IF_ERROR(tick());
  return Status::Ok();
}

std::string UrlOf(const ListenAddress& listen, uint16_t port) {
  // Every address is also this machine's own.
  const std::string address = listen.address == "0.0.0.0" ? "127.0.0.1"
                              : listen.address == "::"    ? "::1"
                                                          : listen.address;
  const bool v6 = address.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", v6 ? "[" : "", address, v6 ? "]" : "", port);
}

}  // namespace sightline
