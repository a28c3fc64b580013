#include "workers/confinement.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "base/files.h"

namespace sightline {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#endif

Status Failed(std::string_view what) {
  return Status::Stop(
      fmt::format("cannot confine a query worker: {}: {}", what, std::strerror(errno)));
}

// -- limits and classes --------------------------------------------------------------------------

Status SetLimit(int resource, int64_t value) {
  const rlimit limit{static_cast<rlim_t>(value), static_cast<rlim_t>(value)};
  return setrlimit(static_cast<__rlimit_resource_t>(resource), &limit) == 0 ? Status::Ok()
                                                                            : Failed("setrlimit");
}

#ifndef SIGHTLINE_SANITIZED
int64_t AddressSpaceBytes() {
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  int64_t pages = 0;
  const bool read = std::fscanf(file, "%ld", &pages) == 1;
  std::fclose(file);
  return read ? pages * sysconf(_SC_PAGESIZE) : 0;
}
#endif

Status SetLimits(const ConfinementOptions& options) {
  RETURN_IF_ERROR(SetLimit(RLIMIT_CORE, 0));
  RETURN_IF_ERROR(SetLimit(RLIMIT_FSIZE, options.file_bytes_max));
  std::signal(SIGXFSZ, SIG_IGN);  // the write fails instead
#ifndef SIGHTLINE_SANITIZED       // a sanitizer reserves terabytes of addresses
  if (options.address_space_bytes > 0)
    RETURN_IF_ERROR(SetLimit(RLIMIT_AS, AddressSpaceBytes() + options.address_space_bytes));
#endif
  // Best effort: where /proc is not there, the system chooses.
  if (std::FILE* const score = std::fopen("/proc/self/oom_score_adj", "w"); score != nullptr) {
    std::fputs("1000", score);
    std::fclose(score);
  }
  return Status::Ok();
}

// -- the file system -----------------------------------------------------------------------------

// The newest members are not in the headers of Debian 12. The kernel is told the size that it
// knows.
struct Ruleset {
  uint64_t files, network, scoped;
};
constexpr uint64_t kReadBits = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr uint64_t kTruncateBit = 1ULL << 14, kDeviceBit = 1ULL << 15;  // ABI 3, 5

int LandlockAbi() {
  return static_cast<int>(
      syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
}

Ruleset RulesetOf(int abi) {
  Ruleset ruleset{.files = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1, .network = 3, .scoped = 3};
  if (abi >= 2) ruleset.files |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) ruleset.files |= kTruncateBit;
  if (abi >= 5) ruleset.files |= kDeviceBit;
  return ruleset;
}

Status RestrictFiles(const std::vector<std::string>& read) {
  const int abi = LandlockAbi();
  if (abi <= 0) return Status::Ok();
  const Ruleset ruleset = RulesetOf(abi);
  const size_t size = abi < 4   ? offsetof(Ruleset, network)
                      : abi < 6 ? offsetof(Ruleset, scoped)
                                : sizeof ruleset;
  const File rules(static_cast<int>(syscall(SYS_landlock_create_ruleset, &ruleset, size, 0)));
  if (!rules.ok()) return Failed("landlock_create_ruleset");
  for (const std::string& path : read) {
    const File opened(open(path.c_str(), O_PATH | O_CLOEXEC));
    struct stat about {};
    if (!opened.ok() || fstat(opened.fd(), &about) != 0) continue;
    const landlock_path_beneath_attr rule{
        .allowed_access = S_ISDIR(about.st_mode) ? kReadBits : LANDLOCK_ACCESS_FS_READ_FILE,
        .parent_fd = opened.fd()};
    if (syscall(SYS_landlock_add_rule, rules.fd(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
      return Failed("landlock_add_rule");
  }
  if (syscall(SYS_landlock_restrict_self, rules.fd(), 0) != 0)
    return Failed("landlock_restrict_self");
  return Status::Ok();
}

// -- system calls --------------------------------------------------------------------------------

// Calls that an answer never needs: other programs and processes, the network, the names of files,
// the kernel's own machinery. tgkill stays, because abort() uses it.
constexpr long kRefused[] = {
    SYS_socket,
    SYS_socketpair,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kill,
    SYS_tkill,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_pidfd_open,
    SYS_pidfd_getfd,
    SYS_pidfd_send_signal,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_keyctl,
    SYS_add_key,
    SYS_request_key,
    SYS_mount,
    SYS_umount2,
    SYS_unshare,
    SYS_setns,
    SYS_chroot,
    SYS_pivot_root,
    SYS_unlinkat,
    SYS_renameat2,
    SYS_linkat,
    SYS_symlinkat,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchownat,
    SYS_truncate,
    SYS_setuid,
    SYS_setgid,
    SYS_setpgid,
    SYS_setsid,
    SYS_personality,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_sethostname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_quotactl,
    SYS_inotify_init1,
    SYS_fanotify_init,
#ifdef __x86_64__
    SYS_fork,
    SYS_vfork,
    SYS_unlink,
    SYS_rename,
    SYS_link,
    SYS_symlink,
    SYS_mkdir,
    SYS_rmdir,
    SYS_mknod,
    SYS_chmod,
    SYS_chown,
    SYS_lchown,
    SYS_renameat,
    SYS_iopl,
    SYS_ioperm,
    SYS_inotify_init,
#endif
};

sock_filter Load(size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset));
}
sock_filter Answer(uint32_t action) { return BPF_STMT(BPF_RET | BPF_K, action); }
// Goes on if the loaded word is `value`; else it leaves out the next instruction.
sock_filter IfEqual(uint32_t value) { return BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1); }

std::vector<sock_filter> Filter() {
  constexpr uint32_t kRefuse = SECCOMP_RET_ERRNO | EPERM;
  // The low half of a call's first argument; both architectures are little-endian.
  constexpr size_t kFirstArgument = offsetof(seccomp_data, args);
  std::vector<sock_filter> filter = {
      Load(offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
      Answer(SECCOMP_RET_KILL_PROCESS),
      Load(offsetof(seccomp_data, nr)),
      // The numbers of the x32 interface would pass every comparison below.
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
      Answer(kRefuse),
      // Its flags lie in memory, where a filter cannot look. The C library then calls clone.
      IfEqual(SYS_clone3),
      Answer(SECCOMP_RET_ERRNO | ENOSYS),
  };
  for (const long call : kRefused) {
    filter.push_back(IfEqual(static_cast<uint32_t>(call)));
    filter.push_back(Answer(kRefuse));
  }
  // A thread may be made, a process not.
  filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3));
  filter.push_back(Load(kFirstArgument));
  filter.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0));
  filter.push_back(Answer(kRefuse));
  filter.push_back(Answer(SECCOMP_RET_ALLOW));
  return filter;
}

Status RestrictCalls() {
  std::vector<sock_filter> filter = Filter();
  const sock_fprog program{.len = static_cast<uint16_t>(filter.size()), .filter = filter.data()};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) return Failed("seccomp");
  return Status::Ok();
}

}  // namespace

bool HasLandlock() { return LandlockAbi() > 0; }

Status Confine(const ConfinementOptions& options) {
  RETURN_IF_ERROR(SetLimits(options));
  // Both of the following ask that the process never gets more rights.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Failed("no_new_privs");
  RETURN_IF_ERROR(RestrictFiles(options.read));
  return RestrictCalls();
}

}  // namespace sightline
