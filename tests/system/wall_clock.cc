// A wall clock that a test sets while a process runs: built by clocks.py, loaded with LD_PRELOAD.
//
// The file that SIGHTLINE_TEST_CLOCK names holds three int64: what is added to the machine's time,
// and, unless 0, the time itself, standing still, both in ns; and 1 if adjtimex(2) is to say that a
// time server keeps the clock. Steady clocks and their waits are left alone. A wait for a moment of
// the wall clock wakes now and then and is asked again, as with a clock that is really set: POSIX
// allows waits to end early.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kSlice = 50'000'000;
constexpr time_t kSteadyMax = 500'000'000;  // seconds: deadlines of steady clocks are smaller

struct Setting {
  volatile int64_t offset, standing, synchronised;
};

const Setting* Open() {
  static const Setting none = {0, 0, 0};
  const char* path = getenv("SIGHTLINE_TEST_CLOCK");
  const int file = path == nullptr ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return &none;
  void* mapped = mmap(nullptr, sizeof(Setting), PROT_READ, MAP_SHARED, file, 0);
  close(file);
  return mapped == MAP_FAILED ? &none : static_cast<const Setting*>(mapped);
}

const Setting& Set() {
  static const Setting* const setting = Open();
  return *setting;
}

template <typename Function>
Function* Next(const char* name, const char* version) {
  void* found = dlvsym(RTLD_NEXT, name, version);
  return reinterpret_cast<Function*>(found != nullptr ? found : dlsym(RTLD_NEXT, name));
}

int Machine(clockid_t clock, timespec* time) {
  static const auto next = Next<int(clockid_t, timespec*)>("clock_gettime", "GLIBC_2.17");
  return next(clock, time);
}

int64_t Machine() {
  timespec time;
  Machine(CLOCK_REALTIME, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

int64_t Now() {
  const int64_t standing = Set().standing;
  return standing != 0 ? standing : Machine() + Set().offset;
}

timespec ToTimespec(int64_t ns) {
  return {static_cast<time_t>(ns / kSecond), static_cast<long>(ns % kSecond)};
}

// Calls `wait` with a deadline of the machine's clock; `timed_out` is what it says then.
template <typename Wait>
int WaitUntil(const timespec& deadline, int timed_out, const Wait& wait) {
  const int64_t until = deadline.tv_sec * kSecond + deadline.tv_nsec;
  const int64_t left = until - Now();
  const timespec end = ToTimespec(Machine() + (left < 0 ? 0 : left < kSlice ? left : kSlice));
  const int result = wait(&end);
  return result == timed_out && Now() < until ? 0 : result;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) {
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return Machine(clock, time);
  *time = ToTimespec(Now());
  return 0;
}

int gettimeofday(timeval* __restrict time, void* __restrict) {
  const int64_t now = Now();
  *time = {static_cast<time_t>(now / kSecond), static_cast<suseconds_t>(now % kSecond / 1'000)};
  return 0;
}

time_t time(time_t* to) {
  const time_t now = static_cast<time_t>(Now() / kSecond);
  if (to != nullptr) *to = now;
  return now;
}

int timespec_get(timespec* time, int base) {
  if (base != TIME_UTC) return 0;
  *time = ToTimespec(Now());
  return base;
}

int adjtimex(timex* state) {
  if (state->modes != 0) {
    errno = EPERM;
    return -1;
  }
  state->status = Set().synchronised != 0 ? 0 : STA_UNSYNC;
  return Set().synchronised != 0 ? TIME_OK : TIME_ERROR;
}

int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                           const timespec* deadline) {
  static const auto next = Next<int(pthread_cond_t*, pthread_mutex_t*, const timespec*)>(
      "pthread_cond_timedwait", "GLIBC_2.3.2");
  if (deadline->tv_sec < kSteadyMax) return next(condition, mutex, deadline);
  return WaitUntil(*deadline, ETIMEDOUT,
                   [&](const timespec* end) { return next(condition, mutex, end); });
}

int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const timespec* deadline) {
  static const auto next = Next<int(pthread_cond_t*, pthread_mutex_t*, clockid_t, const timespec*)>(
      "pthread_cond_clockwait", "GLIBC_2.30");
  if (clock != CLOCK_REALTIME) return next(condition, mutex, clock, deadline);
  return WaitUntil(*deadline, ETIMEDOUT,
                   [&](const timespec* end) { return next(condition, mutex, clock, end); });
}

int cnd_timedwait(cnd_t* __restrict condition, mtx_t* __restrict mutex,
                  const timespec* __restrict deadline) {
  static const auto next =
      Next<int(cnd_t*, mtx_t*, const timespec*)>("cnd_timedwait", "GLIBC_2.34");
  return WaitUntil(*deadline, thrd_timedout,
                   [&](const timespec* end) { return next(condition, mutex, end); });
}

}  // extern "C"
