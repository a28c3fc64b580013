#include "base/clock.h"

#include <sys/timex.h>
#include <time.h>

#include <chrono>
#include <fstream>

namespace sightline {

int64_t SystemClock::NowMs() const {
  using std::chrono::milliseconds;
  return std::chrono::duration_cast<milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

int64_t SystemClock::ElapsedMs() const {
  timespec time{};
  clock_gettime(CLOCK_BOOTTIME, &time);
  return int64_t{time.tv_sec} * 1'000 + time.tv_nsec / 1'000'000;
}

std::string SystemClock::BootId() const {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
  return id;
}

bool SystemClock::IsSynchronised() const {
  timex state{};  // no modes: it only asks
  const int answer = adjtimex(&state);
  return answer >= 0 && answer != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

}  // namespace sightline
