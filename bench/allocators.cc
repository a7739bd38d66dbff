#include "tandem/bench/allocators.h"

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tandem/bench/names.h"
#include "tandem/bench/peers.h"
#include "tandem/bench/take_and_return.h"

namespace tandem::bench {
namespace {

constexpr char kTunables[] = "GLIBC_TUNABLES";
constexpr char kRoomName[] = "glibc.rtld.optional_static_tls";
constexpr char kRoom[] = "glibc.rtld.optional_static_tls=16384";

struct Library {
  const char* peer;
  const char* file;
  const char* own_symbol;  // of this library alone
  const char* package;     // Debian 12's
  const char* allocate = "malloc";
  const char* release = "free";
};
constexpr Library kTcmallocLibrary = {kTcmalloc, "libtcmalloc_minimal.so.4",
                                      "tc_version", "libtcmalloc-minimal4"};
constexpr Library kJemallocLibrary = {kJemalloc, "libjemalloc.so.2", "mallctl",
                                      "libjemalloc2"};
constexpr Library kMimallocLibrary = {kMimalloc, "libmimalloc.so.2",
                                      "mi_version", "libmimalloc2.0"};
constexpr Library kTbbmallocLibrary = {
    kTbbmalloc,      "libtbbmalloc.so.2", "scalable_allocation_mode",
    "libtbbmalloc2", "scalable_malloc",   "scalable_free"};

// The address at which the object that contains `symbol` begins.
const void* ObjectOf(const void* symbol) {
  Dl_info info;
  return dladdr(symbol, &info) != 0 ? info.dli_fbase : nullptr;
}

// Null functions if the library cannot be used; `why` then has the reason.
AllocatorFunctions Load(const Library& library, std::string& why) {
  // Local: the rest of the program keeps glibc's allocator.
  void* const handle = dlopen(library.file, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    why = dlerror();
    return {};
  }
  void* const allocate = dlsym(handle, library.allocate);
  void* const release = dlsym(handle, library.release);
  const void* const own_symbol = dlsym(handle, library.own_symbol);
  if (own_symbol == nullptr || ObjectOf(allocate) != ObjectOf(own_symbol) ||
      ObjectOf(release) != ObjectOf(own_symbol)) {
    why = absl::StrCat(library.file, " brings no ", library.allocate, " and ",
                       library.release, " of its own");
    return {};
  }
  return {.allocate = reinterpret_cast<void* (*)(size_t)>(allocate),
          .release = reinterpret_cast<void (*)(void*)>(release)};
}

template <const Library& kLibrary>
void RegisterAllocator(std::vector<std::string>& missing) {
  static AllocatorFunctions functions;
  std::string why;
  functions = Load(kLibrary, why);
  if (functions.allocate == nullptr) {
    missing.push_back(absl::StrCat(kLibrary.peer, ": ", why, ". Debian 12: ",
                                   "apt-get install ", kLibrary.package));
    return;
  }
  using Peer = Allocator<functions>;
  RegisterTakeAndReturn<Peer>(kLibrary.peer, {{1}});
  Register(kHandOff, kLibrary.peer, HandOff<Peer>, {{2}});
}

}  // namespace

void MakeRoomForAllocators(char** argv) {
  const char* const set = getenv(kTunables);
  std::string tunables = set != nullptr ? set : "";
  if (absl::StrContains(tunables, kRoomName)) return;
  absl::StrAppend(&tunables, tunables.empty() ? "" : ":", kRoom);
  setenv(kTunables, tunables.c_str(), 1);
  // If this fails, jemalloc's dlopen reports what is wrong.
  execv("/proc/self/exe", argv);
}

void RegisterAllocators(std::vector<std::string>& missing) {
  RegisterAllocator<kTcmallocLibrary>(missing);
  RegisterAllocator<kJemallocLibrary>(missing);
  RegisterAllocator<kMimallocLibrary>(missing);
  RegisterAllocator<kTbbmallocLibrary>(missing);
}

}  // namespace tandem::bench
