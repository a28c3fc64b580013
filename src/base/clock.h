// Clock: the port through which time enters. Operators and tasks never read the system's clocks
// themselves.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace sightline {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Milliseconds since the Unix epoch. It may step in both directions when the machine's clock
  // does.
  virtual int64_t NowMs() const = 0;
  // Milliseconds since some moment before this boot of the machine; it also runs while the machine
  // sleeps, and never steps.
  virtual int64_t ElapsedMs() const = 0;
  // Names this boot of the machine: the ElapsedMs() of two boots have nothing to do with each
  // other. Empty if it is not known.
  virtual std::string BootId() const = 0;
  // Whether NowMs() is kept right by a time server, as far as the machine knows.
  virtual bool IsSynchronised() const = 0;
};

// The machine's. ElapsedMs() is CLOCK_BOOTTIME, IsSynchronised() is what adjtimex(2) says.
class SystemClock final : public Clock {
 public:
  int64_t NowMs() const override;
  int64_t ElapsedMs() const override;
  std::string BootId() const override;
  bool IsSynchronised() const override;
};

// For tests: the time stands still until a test sets or advances it.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(int64_t now_ms) : now_ms_(now_ms) {}
  int64_t NowMs() const override { return now_ms_.load(); }
  int64_t ElapsedMs() const override { return elapsed_ms_.load(); }
  std::string BootId() const override { return boot_ == 0 ? "" : std::to_string(boot_); }
  bool IsSynchronised() const override { return synchronised_.load(); }

  // Time passes; with a negative length, the clock is set back by it.
  void Advance(int64_t delta_ms) {
    now_ms_.fetch_add(delta_ms);
    if (delta_ms > 0) elapsed_ms_.fetch_add(delta_ms);
  }
  // Somebody sets the clock.
  void Set(int64_t now_ms) { now_ms_.store(now_ms); }
  void SetSynchronised(bool synchronised) { synchronised_.store(synchronised); }
  // The machine starts again: what it knows of the time before is NowMs().
  void Reboot() {
    ++boot_;
    elapsed_ms_.store(0);
  }

 private:
  std::atomic<int64_t> now_ms_, elapsed_ms_ = 1'000'000, boot_ = 1;
  std::atomic<bool> synchronised_ = true;
};

}  // namespace sightline
