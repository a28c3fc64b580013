#include "workers/worker_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

namespace sightline {
namespace {

struct FileActions {
  FileActions() { posix_spawn_file_actions_init(&actions); }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  posix_spawn_file_actions_t actions{};
};
struct Attributes {
  Attributes() { posix_spawnattr_init(&attributes); }
  ~Attributes() { posix_spawnattr_destroy(&attributes); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  posix_spawnattr_t attributes{};
};

// The worker gets the channel and nothing else. Standard output and error go nowhere: a question
// must not be able to write there.
void GiveOnly(int channel, posix_spawn_file_actions_t* actions) {
  posix_spawn_file_actions_adddup2(actions, channel, kWorkerChannel);
  posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
#ifndef SIGHTLINE_SANITIZED  // a sanitizer's report goes where the server's would
  posix_spawn_file_actions_addopen(actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
#endif
  posix_spawn_file_actions_addclosefrom_np(actions, kWorkerChannel + 1);
}

// Its own group: Ctrl+C on a terminal is for the server, which then ends its workers. It inherits
// neither blocked nor ignored signals.
void Detach(posix_spawnattr_t* attributes) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(attributes, &none);
  posix_spawnattr_setsigdefault(attributes, &all);
  posix_spawnattr_setpgroup(attributes, 0);
  posix_spawnattr_setflags(attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
}

// Empty but for what a sanitizer needs to know.
std::vector<std::string> Environment() {
  std::vector<std::string> environment;
#ifdef SIGHTLINE_SANITIZED
  for (const char* name : {"ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"})
    if (const char* value = std::getenv(name); value != nullptr)
      environment.push_back(fmt::format("{}={}", name, value));
#endif
  return environment;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Result<std::unique_ptr<WorkerProcess>> WorkerProcess::Spawn(const std::string& program,
                                                            std::vector<std::string> arguments,
                                                            const std::string& setup, int nice) {
  auto sockets = SocketPair();
  if (!sockets.ok()) return sockets.status();
  auto& [ours, theirs] = sockets.value();
  FileActions files;
  GiveOnly(theirs->fd(), &files.actions);
  Attributes attributes;
  Detach(&attributes.attributes);
  std::vector<std::string> environment = Environment();
  pid_t pid = 0;
  int error = 0;
  // A process begins with the priority of the thread that starts it, so this thread is a new one.
  std::thread([&] {
    if (nice > 0) setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), nice);
    error = posix_spawn(&pid, program.c_str(), &files.actions, &attributes.attributes,
                        Pointers(arguments).data(), Pointers(environment).data());
  }).join();
  if (error != 0)
    return Status::Retry(fmt::format("cannot start a query worker: {}", std::strerror(error)));
  std::unique_ptr<WorkerProcess> worker(new WorkerProcess(pid, std::move(ours)));
  // The socket's buffer takes it, whether or not the worker reads already.
  RETURN_IF_ERROR(worker->channel_.Send(FrameType::kSetup, setup));
  return worker;
}

WorkerProcess::WorkerProcess(pid_t pid, std::unique_ptr<const File> socket)
    : pid_(pid),
      channel_(std::move(socket)),
      memory_(open(fmt::format("/proc/{}/statm", pid).c_str(), O_RDONLY | O_CLOEXEC)),
      times_(open(fmt::format("/proc/{}/stat", pid).c_str(), O_RDONLY | O_CLOEXEC)) {}

WorkerProcess::~WorkerProcess() {
  if (Ended()) return;
  Kill();
  int status = 0;
  waitpid(pid_, &status, 0);
}

int64_t WorkerProcess::OwnBytes() const {
#ifdef SIGHTLINE_SANITIZED
  return 0;  // a sanitizer's own memory would count as the question's
#endif
  std::array<char, 128> text{};
  const ssize_t size = pread(memory_.fd(), text.data(), text.size() - 1, 0);
  if (size <= 0) return 0;
  char* at = text.data();
  std::strtol(at, &at, 10);  // the address space
  const int64_t resident = std::strtol(at, &at, 10);
  const int64_t shared = std::strtol(at, &at, 10);  // code, and rows that the server has as well
  return (resident - shared) * sysconf(_SC_PAGESIZE);
}

int64_t WorkerProcess::CpuMs() const {
  std::array<char, 1'024> text{};
  const ssize_t size = pread(times_.fd(), text.data(), text.size() - 1, 0);
  if (size <= 0) return 0;
  // The name, in parentheses, may hold anything. Behind it, the times are the 12th and 13th field.
  std::string_view rest(text.data(), static_cast<size_t>(size));
  rest.remove_prefix(std::min(rest.rfind(')') + 1, rest.size()));
  for (int field = 0; field < 12; ++field)
    rest.remove_prefix(std::min(rest.find(' ') + 1, rest.size()));
  char* at = const_cast<char*>(rest.data());
  const int64_t user = std::strtol(at, &at, 10);
  return (user + std::strtol(at, &at, 10)) * 1'000 / sysconf(_SC_CLK_TCK);
}

// A new thread has the class of the one that starts it, so few can be missed here.
void WorkerProcess::MakeIdleClass() const {
  const sched_param none{};
  std::error_code gone;
  for (const auto& task :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid_), gone))
    sched_setscheduler(std::atoi(task.path().filename().c_str()), SCHED_IDLE, &none);
}

void WorkerProcess::Kill() const {
  if (!ended_) kill(pid_, SIGKILL);
}

std::optional<int> WorkerProcess::Ended() {
  int status = 0;
  if (!ended_ && waitpid(pid_, &status, WNOHANG) == pid_) ended_ = status;
  return ended_;
}

std::optional<pid_t> WorkerProcess::Leave() {
  Kill();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  while (!Ended()) {
    if (std::chrono::steady_clock::now() >= deadline) {
      ended_ = SIGKILL;  // so it will end; the caller waits for it
      return pid_;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return std::nullopt;
}

std::string DescribeEnd(int status) {
  if (!WIFSIGNALED(status)) return fmt::format("exit code {}", WEXITSTATUS(status));
  const char* const name = sigabbrev_np(WTERMSIG(status));
  return name == nullptr ? fmt::format("signal {}", WTERMSIG(status)) : fmt::format("SIG{}", name);
}

}  // namespace sightline
