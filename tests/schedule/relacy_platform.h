#ifndef TANDEM_TESTS_SCHEDULE_RELACY_PLATFORM_H_
#define TANDEM_TESTS_SCHEDULE_RELACY_PLATFORM_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "tandem/pool/types.h"
#include "tandem/tests/schedule/relacy_atomic.h"

namespace tandem {

// Whether the owner of a cache must be restarted.
class SimulatedArea {
 public:
  void Arm() { armed_ = true; }
  void Disarm() { armed_ = false; }
  bool armed() const { return armed_; }

 private:
  bool armed_ = false;
};

// Restartable sections and the barrier against them, simulated as what the
// kernel promises. A section takes the same steps as the assembly, each of
// which other threads may come before, on other cores or on this one. Between
// two of them it starts again
//   - after a signal was handled,
//   - after another thread's barrier, and
//   - after other threads have run, or not: they may have run on this core, for
//     which the kernel stopped this thread, or on another core.
// A barrier reaches one thread after the other, with steps of other threads in
// between, and orders memory on each.
//
// How far it is from the machine:
//   - The real barrier is a full fence on every running thread. This one orders
//     the steps of sections only, as acq_rel on a word of each thread, and
//     nothing else that it does: weaker.
//   - Relacy delays no load past a later store, on neither side.
//   - The assembly itself is not seen. It is run against thieves instead.
class SimulatedSection {
 public:
  template <class Words>
  static bool Pop(Words& words, std::span<std::byte*> out) {
    return Run([&]() -> std::optional<bool> {
      uint32_t low = 0;
      uint64_t gate = 0;
      if (!Begin(words, low, gate)) return std::nullopt;
      const int top = Signed(low) - static_cast<int>(out.size());
      if (top < Signed(gate)) return false;
      for (size_t i = 0; i < out.size(); ++i) {
        const auto& slot = words.slots[top + i];
        const auto copy = [&] { out[i] = slot.load(kRelaxed); };
        if (!Step(words, copy)) return std::nullopt;
      }
      return Commit(words, low + kOneMore - out.size());
    });
  }

  template <class Words>
  static bool Push(Words& words, std::span<std::byte* const> in) {
    return Run([&]() -> std::optional<bool> {
      uint32_t low = 0;
      uint64_t gate = 0;
      if (!Begin(words, low, gate)) return std::nullopt;
      const int top = Signed(low);
      if (top + static_cast<int>(in.size()) > Signed(gate >> 16)) return false;
      for (size_t i = 0; i < in.size(); ++i) {
        auto& slot = words.slots[top + i];
        const auto fill = [&] { slot.store(in[i], kRelaxed); };
        if (!Step(words, fill)) return std::nullopt;
      }
      return Commit(words, low + kOneMore + in.size());
    });
  }

  static bool Barrier() {
    if (barriers_may_fail && rl::rand(2) == 0) return false;
    for (Fibre& fibre : fibres) {
      if (fibre.barrier_word == nullptr || &fibre == &ThisFibre()) continue;
      rl::ctx().sched();
      const Uninterrupted scope;
      fibre.section_aborted = true;
      fibre.barrier_word->fetch_add(1, std::memory_order::acq_rel);
    }
    return true;
  }

 private:
  static constexpr auto kRelaxed = std::memory_order::relaxed;

  static constexpr uint32_t kOneMore = 1u << 16;  // of the count

  // Compares tops and bounds as the assembly does.
  static int Signed(uint64_t bits) { return static_cast<int16_t>(bits); }

  // While it lives, no signal comes and no other thread runs.
  class Uninterrupted {
   public:
    Uninterrupted() {
      ThisFibre().uninterrupted = true;
      rl::ctx().disable_preemption();
    }
    ~Uninterrupted() {
      rl::ctx().enable_preemption();
      ThisFibre().uninterrupted = false;
    }
    Uninterrupted(const Uninterrupted&) = delete;
    Uninterrupted& operator=(const Uninterrupted&) = delete;
  };

  // `body` returns nothing if it must start again.
  template <class Body>
  static bool Run(Body body) {
    for (;;) {
      ThisFibre().section_aborted = false;
      if (const std::optional<bool> done = body()) return *done;
    }
  }

  // False if the section must start again.
  template <class Words, class Access>
  static bool Step(const Words& words, Access access) {
    const uint64_t switches = context_switches;
    rl::ctx().sched();
    const bool others_ran = context_switches != switches;
    const bool preempted =
        others_ran && rl::rand(rl::ctx().is_random_sched() ? 4 : 2) == 1;
    DeliverSignal();
    Fibre& fibre = ThisFibre();
    if ((fibre.section_aborted || preempted) && words.area.armed()) {
      return false;
    }
    const Uninterrupted scope;
    fibre.barrier_word->fetch_add(0, std::memory_order::acquire);
    access();
    fibre.barrier_word->fetch_add(0, std::memory_order::release);
    return true;
  }

  // Reads the low half of the word, then the gate. False if the section must
  // start again.
  template <class Words>
  static bool Begin(const Words& words, uint32_t& low, uint64_t& gate) {
    return Step(words, [&] { low = words.word.load(kRelaxed); }) &&
           Step(words, [&] { gate = words.gate.load(kRelaxed); });
  }

  // Stores the low half. Only the owner changes the other half, and not in
  // a section.
  template <class Words>
  static std::optional<bool> Commit(Words& words, uint32_t low) {
    const auto commit = [&] {
      const uint64_t high = words.word.load(kRelaxed) >> 32;
      words.word.store(high << 32 | low, kRelaxed);
    };
    if (!Step(words, commit)) return std::nullopt;
    return true;
  }
};

// The platform of the lock-free core under the checker.
struct RelacyPlatform {
  template <class T>
  using Atomic = RelacyAtomic<T>;
  template <class T>
  using OwnAtomic = RelacyAtomic<T>;

  static constexpr uint32_t kCacheSlots = 16;

  static constexpr uint32_t kMagazineSize = 4;
  static constexpr uint32_t kLeastInMagazine = 2;
  static void CopySlots(const Atomic<std::byte*>* from, uint32_t count,
                        std::byte** to) {
    for (uint32_t i = 0; i < count; ++i) {
      to[i] = from[i].load(std::memory_order::relaxed);
    }
  }
  static void CopySlots(std::byte* const* from, uint32_t count,
                        Atomic<std::byte*>* to) {
    for (uint32_t i = 0; i < count; ++i) {
      to[i].store(from[i], std::memory_order::relaxed);
    }
  }

  using SectionArea = SimulatedArea;

  template <class Words>
  static bool PopBiased(Words& words, std::span<std::byte*> out) {
    return SimulatedSection::Pop(words, out);
  }
  template <class Words>
  static bool PushBiased(Words& words, std::span<std::byte* const> in) {
    return SimulatedSection::Push(words, in);
  }
  static bool Barrier() { return SimulatedSection::Barrier(); }

  static void SignalFence() { DeliverSignal(); }

  template <class T>
  static T*& PerThread() {
    static std::array<T*, kMaxFibres> pointers;
    static uint64_t iteration = 0;
    if (iteration != current_iteration) {
      iteration = current_iteration;
      pointers.fill(nullptr);
    }
    return pointers[rl::thread_index()];
  }

  // Usually the thread's own core; sometimes it has migrated.
  static uint32_t CurrentCore() {
    const bool migrated = rl::ctx().is_random_sched() && rl::rand(8) == 0;
    return rl::thread_index() + (migrated ? 1 : 0);
  }

  // Later than at the last call, and sometimes much later.
  static int64_t NowNanos() {
    static int64_t now = 0;
    static uint64_t iteration = 0;
    if (iteration != current_iteration) {
      iteration = current_iteration;
      now = 0;
    }
    constexpr int64_t kLong = 1'000'000'000;
    if (rl::ctx().is_random_sched() && rl::rand(2) == 0) now += kLong;
    return ++now;
  }
  static int64_t ThreadNanos() { return NowNanos(); }
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SCHEDULE_RELACY_PLATFORM_H_
