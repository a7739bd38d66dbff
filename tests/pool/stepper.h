#ifndef TANDEM_TESTS_POOL_STEPPER_H_
#define TANDEM_TESTS_POOL_STEPPER_H_

#include <cstdint>
#include <functional>
#include <vector>

namespace tandem {

// Runs code one machine instruction at a time, by the processor's trap flag, so
// that a test can act between any two of them. Random signals would hit some
// places once in a million times.
//
// A restartable sequence counts as one instruction: an interruption within it
// restarts it, as if the interruption had come before. No thread may preempt it
// while it is stepped over, so other threads must be asleep.
//
// A reading of the kernel's clock counts as part of the instruction before it.
// It begins again whenever the clock was updated meanwhile, so a thread that is
// stopped in it again and again would never leave it.
//
// Works only on x86-64, and not under ThreadSanitizer, whose runtime must not
// be interrupted at arbitrary places.
class Stepper {
 public:
  using Function = std::function<void()>;

  // False if this machine or build cannot do it: skip the test.
  static bool Works();

  // Runs `operation` on this thread, and `interrupt` in a signal handler just
  // before the operation's instruction number `at`, from 0 up. False if the
  // operation has ended before that.
  static bool InterruptAt(uint64_t at, const Function& operation,
                          const Function& interrupt);

  // As InterruptAt for all instructions in turn, each time in a copy of the
  // process, which then runs `check`. Other threads do not exist in a copy, as
  // if asleep forever. A test fails if it fails in any of the copies. Each
  // takes about a millisecond. So this tries only one instruction in `stride`,
  // and fewer if the compiler does not optimize, unless
  // TANDEM_EVERY_INSTRUCTION is in the environment; different ones each time,
  // by TestSeed. Prints how many.
  static void InterruptEverywhere(const Function& operation,
                                  const Function& interrupt,
                                  const Function& check, uint64_t stride = 1);

  // The number of instructions that `operation` takes now.
  static uint64_t Count(const Function& operation);

  // The addresses of the instructions that `operation` executes, in order,
  // those of restartable sequences one by one; of the first 100,000.
  static std::vector<uintptr_t> Trace(const Function& operation);
};

}  // namespace tandem

#endif  // TANDEM_TESTS_POOL_STEPPER_H_
