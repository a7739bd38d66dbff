#include "tandem/tests/pool/testing.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "tandem/pool/die.h"

namespace tandem {

void Require(bool condition, std::string_view what) {
  if (!condition) Die("test: ", what);
}

std::unique_ptr<BufferPool> NewPool(const PoolOptions& options) {
  absl::StatusOr<std::unique_ptr<BufferPool>> pool =
      BufferPool::Create(options);
  Require(pool.ok(), std::string(pool.status().message()));
  return *std::move(pool);
}

std::vector<std::byte*> TakeAll(BufferPool& pool) {
  std::vector<std::byte*> taken;
  while (std::byte* const buffer = pool.Acquire()) {
    taken.push_back(buffer);
    // P1; and a broken pool must not make the test run forever.
    Require(taken.size() <= pool.capacity(), "more buffers than there are");
  }
  return taken;
}

bool AcquireInto(BufferPool& pool, std::span<std::byte*> out) {
  switch (out.size()) {
    case 1:
      out[0] = pool.Acquire();
      return out[0] != nullptr;
    case 2:
      return pool.AcquirePair(out.first<2>());
    default:
      return pool.AcquireMany(out);
  }
}

void ReleaseAll(BufferPool& pool, std::span<std::byte* const> buffers) {
  switch (buffers.size()) {
    case 1:
      return pool.Release(buffers[0]);
    case 2:
      return pool.ReleasePair(buffers.first<2>());
    default:
      return pool.ReleaseMany(buffers);
  }
}

void ExpectCanTake(BufferPool& pool, size_t count) {
  const std::vector<std::byte*> taken = TakeAll(pool);
  EXPECT_EQ(taken.size(), count);
  EXPECT_EQ(std::set(taken.begin(), taken.end()).size(), taken.size())
      << "a buffer was handed out twice";
  pool.ReleaseMany(taken);
}

void ExpectAtRest(const BufferPool& pool, uint32_t in_use) {
  const PoolSnapshot snapshot = pool.Snapshot();
  uint64_t listed = snapshot.cold.buffers;
  for (const PoolSnapshot::Core& core : snapshot.cores) {
    listed += core.buffers;
  }
  EXPECT_EQ(snapshot.in_use, in_use);
  EXPECT_EQ(snapshot.available, listed);
  EXPECT_EQ(snapshot.waiting, 0u);
  EXPECT_EQ(snapshot.shortages, 0u);
}

void FillCache(BufferPool& pool) {
  // More quiet operations than the least that bring a bias back.
  for (int i = pool.Snapshot().biased ? 400 : 0; i > 0; --i) {
    std::byte* const buffer = pool.Acquire();
    if (buffer != nullptr) pool.Release(buffer);
  }
  std::vector<std::byte*> buffers(pool.Snapshot().cache_limit);
  for (std::byte*& buffer : buffers) buffer = pool.Acquire();
  for (std::byte* const buffer : buffers) {
    if (buffer != nullptr) pool.Release(buffer);
  }
}

bool Mark(std::byte* buffer, uint64_t owner) {
  uint64_t was;
  std::memcpy(&was, buffer, sizeof(was));
  std::memcpy(buffer, &owner, sizeof(owner));
  return was == 0;
}

bool Unmark(std::byte* buffer, uint64_t owner) {
  uint64_t was;
  std::memcpy(&was, buffer, sizeof(was));
  std::memset(buffer, 0, sizeof(was));
  return was == owner;
}

BusyOwner::BusyOwner(BufferPool& pool, std::function<void()> prepare)
    : thread_([this, &pool, prepare = std::move(prepare)] {
        prepare();
        while (!stop_) {
          std::byte* const buffer = pool.Acquire();
          if (buffer == nullptr) continue;
          EXPECT_TRUE(Mark(buffer, 1)) << "in two hands";
          EXPECT_TRUE(Unmark(buffer, 1)) << "in two hands";
          pool.Release(buffer);
        }
      }) {}

void BusyOwner::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

size_t TakeAllFromOwners(BufferPool& pool) {
  const std::vector<std::byte*> taken = TakeAll(pool);
  for (std::byte* const buffer : taken) {
    EXPECT_TRUE(Mark(buffer, 2)) << "in two hands";
  }
  for (std::byte* const buffer : taken) {
    EXPECT_TRUE(Unmark(buffer, 2)) << "in two hands";
  }
  pool.ReleaseMany(taken);
  return taken.size();
}

[[gnu::noinline, gnu::no_sanitize_address]] void Scribble(std::byte* at) {
  volatile std::byte* const byte = at;
  *byte = *byte ^ std::byte{0xFF};
}

uint64_t TestSeed() {
  const char* const set = std::getenv("TANDEM_TEST_SEED");
  const uint64_t seed =
      set != nullptr ? std::strtoull(set, nullptr, 10) : std::random_device()();
  std::printf("to replay: TANDEM_TEST_SEED=%llu\n",
              static_cast<unsigned long long>(seed));
  return seed;
}

void RefuseSystemCall(long number, int error) {  // NOLINT: as in the header
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K,
               SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {.len = 4, .filter = program};
  ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

size_t PagesIn(std::span<std::byte> bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> present((bytes.size() + page - 1) / page);
  EXPECT_EQ(mincore(bytes.data(), bytes.size(), present.data()), 0);
  return std::count_if(present.begin(), present.end(),
                       [](unsigned char p) { return (p & 1) != 0; });
}

int RunProgram(std::vector<std::string> words,
               const std::vector<std::string>& variables) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::fflush(nullptr);
  const pid_t program = fork();
  if (program == 0) {
    for (const std::string& variable : variables) {
      putenv(const_cast<char*>(variable.c_str()));
    }
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  int status = 0;
  if (waitpid(program, &status, 0) != program) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void InChild(const std::function<void()>& test) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    test();
    std::fflush(nullptr);
    // No destructors: they might destroy what threads use that the child does
    // not have.
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << "in a child process";
}

ErrorCapture::ErrorCapture()
    : before_(dup(STDERR_FILENO)), file_(memfd_create("stderr", MFD_CLOEXEC)) {
  Require(before_ >= 0 && file_ >= 0 && dup2(file_, STDERR_FILENO) >= 0,
          "standard error can't be captured");
}

ErrorCapture::~ErrorCapture() {
  dup2(before_, STDERR_FILENO);
  close(before_);
  close(file_);
}

Gate::Gate() { EXPECT_EQ(pipe(ends_.data()), 0); }

Gate::~Gate() {
  for (const int end : ends_) close(end);
}

void Gate::Wait() {
  char byte;
  while (read(ends_[0], &byte, 1) != 1) {
  }
}

void Gate::Open() { EXPECT_EQ(write(ends_[1], "", 1), 1); }

std::string ErrorCapture::text() const {
  std::string text(static_cast<size_t>(lseek(file_, 0, SEEK_END)), '\0');
  EXPECT_EQ(pread(file_, text.data(), text.size(), 0), std::ssize(text));
  return text;
}

}  // namespace tandem
