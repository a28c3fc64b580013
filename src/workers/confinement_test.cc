#include "workers/confinement.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

namespace sightline {
namespace {

namespace fs = std::filesystem;

class ConfinementTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "sightline-XXXXXX").native();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    std::ofstream(dir_ / "file") << "readable";
  }
  void TearDown() override { fs::remove_all(dir_); }

  // Runs `act` in a confined process, and returns what it returns: 0 is right.
  int Confined(const std::function<int()>& act) {
    const pid_t pid = fork();
    if (pid == 0) {
      const Status confined = Confine({.read = {dir_.native()}, .file_bytes_max = 1'000});
      if (!confined.ok()) {
        std::fprintf(stderr, "%s\n", confined.message().c_str());
        _exit(100);
      }
      _exit(act());
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  fs::path dir_;
};

// Whether the call failed with `error`.
template <typename T>
bool Fails(T result, int error) {
  return result == static_cast<T>(-1) && errno == error;
}

TEST_F(ConfinementTest, NoNetworkAndNoOtherProcess) {
  EXPECT_EQ(
      Confined([] {
        if (!Fails(socket(AF_INET, SOCK_STREAM, 0), EPERM)) return 1;
        if (!Fails(socket(AF_UNIX, SOCK_STREAM, 0), EPERM)) return 2;
        if (!Fails(fork(), EPERM)) return 3;
        const char* const none[] = {nullptr};
        if (!Fails(execve("/bin/true", const_cast<char**>(none), const_cast<char**>(none)), EPERM))
          return 4;
        if (!Fails(kill(getppid(), 0), EPERM)) return 5;
        return 0;
      }),
      0);
}

TEST_F(ConfinementTest, ThreadsAndMemoryStay) {
  EXPECT_EQ(Confined([] {
              int answer = 1;
              std::thread([&] { answer = 0; }).join();
              void* const memory = mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              return memory == MAP_FAILED ? 2 : answer;
            }),
            0);
}

TEST_F(ConfinementTest, OnlyTheFoldersCanBeRead) {
  ASSERT_TRUE(HasLandlock()) << "this kernel cannot prove it";
  EXPECT_EQ(Confined([this] {
              if (open((dir_ / "file").c_str(), O_RDONLY) < 0) return 1;
              if (!Fails(open((dir_ / "file").c_str(), O_RDWR), EACCES)) return 2;
              if (!Fails(open((dir_ / "new").c_str(), O_RDWR | O_CREAT, 0600), EACCES)) return 3;
              if (!Fails(open("/etc/passwd", O_RDONLY), EACCES)) return 4;
              if (!Fails(open("/proc/self/environ", O_RDONLY), EACCES)) return 5;
              if (!Fails(unlink((dir_ / "file").c_str()), EPERM)) return 6;
              return 0;
            }),
            0);
  EXPECT_TRUE(fs::exists(dir_ / "file"));
}

TEST_F(ConfinementTest, AFileInMemoryHasABound) {
  EXPECT_EQ(Confined([] {
              const int file = memfd_create("x", 0);
              const std::string text(600, 'x');
              if (write(file, text.data(), text.size()) != 600) return 1;
              if (write(file, text.data(), text.size()) != 400) return 2;
              return Fails(write(file, text.data(), text.size()), EFBIG) ? 0 : 3;
            }),
            0);
}

TEST_F(ConfinementTest, NothingIsDumped) {
  EXPECT_EQ(Confined([] {
              rlimit core{};
              return getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 ? 0 : 1;
            }),
            0);
}

}  // namespace
}  // namespace sightline
