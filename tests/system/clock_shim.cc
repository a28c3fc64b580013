// For tests of wrong clocks: loaded into a process with LD_PRELOAD, it sets that process's wall
// clock ahead or back, and says whether a time server keeps it. A test changes both while the
// process runs: the file SIGHTLINE_TEST_CLOCK has two 64-bit integers, the milliseconds that are
// added to the wall clock, and 1 if the clock is synchronised. Elapsed time stays as it is.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

namespace {

struct Setting {
  volatile int64_t ahead_ms, synchronised;
};

const Setting& Read() {
  static const Setting* const setting = [] {
    static Setting none{0, 0};
    const char* const path = getenv("SIGHTLINE_TEST_CLOCK");
    const int fd = path == nullptr ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return static_cast<const Setting*>(&none);
    void* const mapped = mmap(nullptr, sizeof(Setting), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    return mapped == MAP_FAILED ? &none : static_cast<const Setting*>(mapped);
  }();
  return *setting;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t id, timespec* time) noexcept {
  if (syscall(SYS_clock_gettime, id, time) != 0) return -1;
  if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE) return 0;
  const int64_t ms = Read().ahead_ms;
  time->tv_sec += ms / 1'000;
  return 0;
}

int gettimeofday(timeval* time, void*) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1'000;
  return 0;
}

time_t time(time_t* time) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (time != nullptr) *time = now.tv_sec;
  return now.tv_sec;
}

int adjtimex(timex* state) noexcept {
  if (state->modes != 0) {
    errno = EPERM;
    return -1;
  }
  const bool synchronised = Read().synchronised != 0;
  state->status = synchronised ? 0 : STA_UNSYNC;
  return synchronised ? TIME_OK : TIME_ERROR;
}

}  // extern "C"
