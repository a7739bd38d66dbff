#include "tandem/bench/mempool.h"

#include <string>
#include <vector>

#if !__has_include(<rte_mempool.h>)

namespace tandem::bench {

void RegisterMempool(std::vector<std::string>& missing) {
  missing.push_back(
      "rte_mempool: DPDK was not there when this was built. Debian 12: apt-get "
      "install libdpdk-dev");
}

}  // namespace tandem::bench

#else

// Must come first: the other headers rely on it.
#include <rte_config.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <sched.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <span>

#include "absl/strings/str_cat.h"
#include "tandem/bench/mempool_loop.h"
#include "tandem/bench/names.h"
#include "tandem/bench/peers.h"
#include "tandem/bench/stranding.h"
#include "tandem/bench/take_and_return.h"

namespace tandem::bench {
namespace {

rte_mempool* shared_pool = nullptr;
rte_mempool* loop_pool = nullptr;
rte_mempool* stranding_pool = nullptr;

// A thread has a cache only if it has an lcore number of its own.
struct Lcore {
  Lcore() {
    if (rte_lcore_id() == LCORE_ID_ANY && rte_thread_register() != 0) {
      std::abort();
    }
  }
  ~Lcore() {
    if (rte_lcore_id() != rte_get_main_lcore()) rte_thread_unregister();
  }
};

template <rte_mempool*& kPool>
class Mempool {
 public:
  explicit Mempool(int /*thread*/) : pool_(kPool) {
    static thread_local const Lcore lcore;
    static_cast<void>(lcore);
  }

  [[gnu::always_inline]] std::byte* Acquire() {
    void* buffer;
    if (rte_mempool_get(pool_, &buffer) != 0) [[unlikely]] {
      return nullptr;
    }
    return static_cast<std::byte*>(buffer);
  }
  [[gnu::always_inline]] void Release(std::byte* buffer) {
    rte_mempool_put(pool_, buffer);
  }
  [[gnu::always_inline]] bool AcquireMany(std::span<std::byte*> out) {
    return rte_mempool_get_bulk(pool_, reinterpret_cast<void**>(out.data()),
                                out.size()) == 0;
  }
  [[gnu::always_inline]] void ReleaseMany(std::span<std::byte* const> buffers) {
    rte_mempool_put_bulk(pool_, reinterpret_cast<void* const*>(buffers.data()),
                         buffers.size());
  }

 private:
  rte_mempool* const pool_;
};

// Starts DPDK with nothing but its memory. True if it works here.
bool StartDpdk() {
  cpu_set_t cores;
  sched_getaffinity(0, sizeof(cores), &cores);
  std::array<std::string, 9> words = {
      "tandem",
      "--no-huge",
      "--no-pci",
      "--no-shconf",
      "--no-telemetry",
      "--log-level=error",
      "-m",
      absl::StrCat((kCapacity * kBufferSize * 3 / 2 +
                    kLoopCapacity * kLoopBufferSize * 2) >>
                   20),
      absl::StrCat("--lcores=0@", sched_getcpu())};
  std::array<char*, words.size() + 1> arguments = {};
  for (size_t i = 0; i < words.size(); ++i) arguments[i] = words[i].data();
  const bool started = rte_eal_init(words.size(), arguments.data()) >= 0;
  // DPDK binds its first thread to one core; here other threads use it too.
  sched_setaffinity(0, sizeof(cores), &cores);
  return started;
}

}  // namespace

void RegisterMempool(std::vector<std::string>& missing) {
  if (StartDpdk()) {
    // The ring holds one object fewer than a power of two.
    shared_pool = rte_mempool_create("buffers", kCapacity - 1, kBufferSize,
                                     kCachedBuffers, 0, nullptr, nullptr,
                                     nullptr, nullptr, SOCKET_ID_ANY, 0);
    loop_pool = rte_mempool_create("loop", kLoopCapacity, kLoopBufferSize,
                                   kLoopCacheSize, 0, nullptr, nullptr, nullptr,
                                   nullptr, SOCKET_ID_ANY, 0);
    // With caches of its own: those of finished threads stay full.
    stranding_pool = rte_mempool_create("stranding", kCapacity - 1, 64,
                                        kCachedBuffers, 0, nullptr, nullptr,
                                        nullptr, nullptr, SOCKET_ID_ANY, 0);
  }
  if (shared_pool == nullptr || loop_pool == nullptr ||
      stranding_pool == nullptr) {
    missing.push_back(absl::StrCat("rte_mempool: DPDK does not start here: ",
                                   rte_strerror(rte_errno)));
    return;
  }
  using Peer = Mempool<shared_pool>;
  RegisterTakeAndReturn<Peer>(kMempool, {{1, 2}});
  Register(kBigBurst, kMempool, Burst<Peer, kBigBurstSize>, {{1, 2}});
  Register(kHandOff, kMempool, HandOff<Peer>, {{2}});
  RegisterMempoolLoop<Mempool<loop_pool>>(kMempool);
  RegisterStranding<Mempool<stranding_pool>, kCapacity - 1>(kMempool);
}

}  // namespace tandem::bench

#endif
