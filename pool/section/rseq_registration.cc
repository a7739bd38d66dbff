#include "tandem/pool/section/rseq_registration.h"

#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#define TANDEM_GLIBC_HAS_RSEQ 1
#endif

// Tandem's own area. Weak and visible, so that all copies of Tandem that the
// dynamic linker sees in a process share one; initial-exec, so that reading it
// allocates nothing. `__thread`: constant initialization, no wrapper function.
extern "C" {
[[gnu::weak, gnu::visibility("default"),
  gnu::tls_model(
      "initial-exec")]] __thread tandem::RseqArea tandem_rseq_area = {
    .cpu_id_start = 0,
    .cpu_id = tandem::RseqArea::kUninitialized,
    .rseq_cs = 0,
    .flags = 0,
    .unused = {}};
}

namespace tandem {
namespace {

// The signature in front of each abort handler; glibc uses the same one.
#if defined(__aarch64__)
constexpr uint32_t kSignature = 0xd428bc00;
#else
constexpr uint32_t kSignature = 0x53053053;
#endif

// volatile: the kernel writes it at any moment.
int32_t CoreOf(const RseqArea& area) {
  return static_cast<const volatile RseqArea&>(area).cpu_id;
}

RseqArea* GlibcArea() {
#ifdef TANDEM_GLIBC_HAS_RSEQ
  if (__rseq_size == 0) return nullptr;
  return reinterpret_cast<RseqArea*>(
      static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset);
#else
  return nullptr;
#endif
}

// Looked up by name: a weak reference to a thread-local symbol that nobody
// defines yields garbage.
RseqArea* OtherLibrarysArea() {
  return static_cast<RseqArea*>(dlsym(RTLD_DEFAULT, "__rseq_abi"));
}

// True if the kernel knows the area, with our signature: from now on, or
// already (EBUSY). Otherwise it knows another area (EINVAL) or another
// signature (EPERM), or has no restartable sequences at all.
bool Register(RseqArea& area) {
#ifdef SYS_rseq
  return syscall(SYS_rseq, &area, sizeof(area), 0, kSignature) == 0 ||
         errno == EBUSY;
#else
  return false;
#endif
}

RseqArea* FindOrRegister() {
  RseqArea* const glibcs = GlibcArea();
  if (glibcs != nullptr && CoreOf(*glibcs) >= 0) return glibcs;
  if (CoreOf(tandem_rseq_area) >= 0) return &tandem_rseq_area;
  if (RseqArea* const others = OtherLibrarysArea(); others != nullptr) {
    if (CoreOf(*others) == RseqArea::kRegistrationFailed) return nullptr;
    if (Register(*others)) return others;
  }
  return Register(tandem_rseq_area) ? &tandem_rseq_area : nullptr;
}

}  // namespace

RseqArea* RegisterRseqArea() {
  const int saved_errno = errno;
  RseqArea* const area = FindOrRegister();
  errno = saved_errno;
  return area;
}

int32_t CoreByRseqArea() {
  const RseqArea* const glibcs = GlibcArea();
  if (glibcs != nullptr && CoreOf(*glibcs) >= 0) return CoreOf(*glibcs);
  return CoreOf(tandem_rseq_area);
}

}  // namespace tandem
