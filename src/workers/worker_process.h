// WorkerProcess: one process that answers questions, as the server sees it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "model/scope.h"
#include "workers/channel.h"

namespace sightline {

// One thread at a time, but Kill() on any.
class WorkerProcess {
 public:
  // Starts `program` with `arguments` (the first is its name), an empty environment and no
  // descriptor but the channel, which is kWorkerChannel there. Does not wait until the worker is
  // ready. `nice` lowers its priority from its first instruction on (nice(2)). kRetry: the system
  // has no room for a process.
  static Result<std::unique_ptr<WorkerProcess>> Spawn(const std::string& program,
                                                      std::vector<std::string> arguments,
                                                      const std::string& setup, int nice);
  // Kills the process if it still runs. The caller has called Leave(), or the process is reaped
  // here, which may take until the kernel lets it go.
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  Channel& channel() { return channel_; }
  pid_t pid() const { return pid_; }
  std::chrono::steady_clock::time_point started() const { return started_; }
  // The memory that only this process has; 0 if the system does not say.
  int64_t OwnBytes() const;
  // The processor time of all its threads, in milliseconds, by steps of about 10.
  int64_t CpuMs() const;
  // Lets it run only when nobody else needs the processor, for good: an unprivileged process cannot
  // be raised again.
  void MakeIdleClass() const;
  void Kill() const;
  // Whether the process has ended, and how: the status of wait(2).
  std::optional<int> Ended();
  // Kills it, and waits at most 50 ms. Returns the process that is still there, for the caller to
  // wait for; none: it has ended.
  std::optional<pid_t> Leave();

  // The scope of the questions that it has answered; none yet.
  std::optional<Scope> scope;
  bool ready = false;  // it has said so

 private:
  WorkerProcess(pid_t pid, std::unique_ptr<const File> socket);

  const pid_t pid_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  Channel channel_;
  const File memory_, times_;  // /proc/<pid>/statm and stat
  std::optional<int> ended_;
};

constexpr int kWorkerChannel = 3;

// "SIGSEGV", or "exit code 1".
std::string DescribeEnd(int status);

}  // namespace sightline
