#include "tandem/tests/pool/stepper.h"

#include <elf.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "gtest/gtest.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

struct Plan {
  uint64_t seen = 0;  // instructions
  // Called before each instruction, with its number. False: no more stops.
  const std::function<bool(uint64_t)>* before = nullptr;
  // If not null, filled up to its capacity.
  std::vector<uintptr_t>* trace = nullptr;
  int64_t section_start = 0;
  int64_t section_end = 0;
  int64_t kernel_start = 0;  // code that the kernel lends, such as its clock
  int64_t kernel_end = 0;
};
constinit thread_local Plan plan;

#ifdef __x86_64__
constexpr greg_t kTrapFlag = 0x100;

// Of the kernel's struct rseq_cs.
struct SectionDescriptor {
  uint32_t version;
  uint32_t flags;
  greg_t start;
  greg_t length;
  greg_t abort;
};

// After a restartable sequence has been announced, the trap makes the kernel
// abort it, again and again. The stepper recognizes this by the signature
// before the abort handler; rax has the descriptor. It then goes to the start
// of the sequence, with nothing announced. The section runs like other code,
// and no interruption comes until it has ended.
bool InSection(greg_t (&registers)[NGREG]) {
  constexpr uint32_t kSignature = 0x53053053;
  greg_t& next = registers[REG_RIP];
  uint32_t before;
  std::memcpy(&before, reinterpret_cast<const char*>(next) - sizeof(before),
              sizeof(before));
  if (before == kSignature) {
    const auto* const descriptor =
        reinterpret_cast<const SectionDescriptor*>(registers[REG_RAX]);
    plan.section_start = descriptor->start;
    plan.section_end = descriptor->start + descriptor->length;
    next = plan.section_start;
  }
  return next >= plan.section_start && next < plan.section_end;
}

// Fills in where the kernel's code lies (vdso).
void FindKernelCode() {
  const uintptr_t start = getauxval(AT_SYSINFO_EHDR);
  if (start == 0) return;
  const auto& header = *reinterpret_cast<const Elf64_Ehdr*>(start);
  const auto* const segments =
      reinterpret_cast<const Elf64_Phdr*>(start + header.e_phoff);
  for (int i = 0; i < header.e_phnum; ++i) {
    if (segments[i].p_type != PT_LOAD) continue;
    plan.kernel_start = static_cast<int64_t>(start);
    plan.kernel_end = static_cast<int64_t>(start + segments[i].p_memsz);
  }
}

void OnTrap(int, siginfo_t*, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const bool in_section = InSection(registers);
  if (plan.trace != nullptr && plan.trace->size() < plan.trace->capacity()) {
    plan.trace->push_back(static_cast<uintptr_t>(registers[REG_RIP]));
  }
  if (in_section) return;
  if (registers[REG_RIP] >= plan.kernel_start &&
      registers[REG_RIP] < plan.kernel_end) {
    return;
  }
  if (!(*plan.before)(plan.seen++)) registers[REG_EFL] &= ~kTrapFlag;
}

// The lines below the stack pointer are the caller's own (red zone).
[[gnu::noinline]] void SetTrapFlag() {
  asm volatile(
      "subq $128, %%rsp; pushfq; orq $0x100, (%%rsp); popfq; addq $128, "
      "%%rsp" ::
          : "memory", "cc");
}
[[gnu::noinline]] void ClearTrapFlag() {
  asm volatile(
      "subq $128, %%rsp; pushfq; andq $-0x101, (%%rsp); popfq; addq $128, "
      "%%rsp" ::
          : "memory", "cc");
}
#endif

void Step([[maybe_unused]] const std::function<void()>& operation,
          [[maybe_unused]] const std::function<bool(uint64_t)>& before,
          [[maybe_unused]] std::vector<uintptr_t>* trace = nullptr) {
#ifdef __x86_64__
  plan = {.before = &before, .trace = trace};
  FindKernelCode();
  SetTrapFlag();
  operation();
  ClearTrapFlag();
#endif
}

// How many times as many instructions, or time for a fork, as in a plain build.
constexpr uint64_t kSlowness =
#ifdef __OPTIMIZE__
    kAsan ? 61 : 1;
#else
    61;
#endif

}  // namespace

bool Stepper::Works() {
#ifdef __x86_64__
  if (kTsan) return false;
  struct sigaction action = {};
  action.sa_sigaction = OnTrap;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGTRAP, &action, nullptr);
  static const bool works = Count([] {
                              for (int i = 0; i < 10; ++i) asm volatile("nop");
                            }) > 10;
  return works;
#else
  return false;
#endif
}

bool Stepper::InterruptAt(uint64_t at, const Function& operation,
                          const Function& interrupt) {
  bool done = false;
  Step(operation, [&](uint64_t number) {
    if (number != at) return true;
    done = true;
    interrupt();
    return false;
  });
  return done;
}

void Stepper::InterruptEverywhere(const Function& operation,
                                  const Function& interrupt,
                                  const Function& check, uint64_t stride) {
  stride = std::getenv("TANDEM_EVERY_INSTRUCTION") != nullptr
               ? 1
               : stride * kSlowness;
  static uint64_t calls = TestSeed();
  const uint64_t first = calls++;
  bool is_copy = false;
  bool failed = false;
  uint64_t seen = 0;
  uint64_t tried = 0;
  std::fflush(stdout);
  Step(operation, [&](uint64_t number) {
    seen = number + 1;
    if ((number + first) % stride != 0) return true;
    ++tried;
    const pid_t copy = fork();
    if (copy == 0) {
      is_copy = true;
      interrupt();
      return false;
    }
    int status = -1;
    waitpid(copy, &status, 0);
    if (status == 0) return true;
    failed = true;
    std::fprintf(stderr, "interrupted before instruction %llu\n",
                 static_cast<unsigned long long>(number));
    return false;
  });
  if (is_copy) {
    check();
    std::fflush(stdout);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  EXPECT_FALSE(failed) << "in a copy of the process, see above";
  EXPECT_TRUE(failed || tried >= seen / stride) << "stopped too early";
  std::printf("interrupted before %llu of %llu instructions\n",
              static_cast<unsigned long long>(tried),
              static_cast<unsigned long long>(seen));
  check();
}

uint64_t Stepper::Count(const Function& operation) {
  uint64_t count = 0;
  Step(operation, [&](uint64_t number) {
    count = number + 1;
    return true;
  });
  return count;
}

std::vector<uintptr_t> Stepper::Trace(const Function& operation) {
  std::vector<uintptr_t> trace;
  trace.reserve(100'000);
  Step(
      operation, [](uint64_t) { return true; }, &trace);
  return trace;
}

}  // namespace tandem
