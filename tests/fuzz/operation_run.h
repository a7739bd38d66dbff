#ifndef TANDEM_TESTS_FUZZ_OPERATION_RUN_H_
#define TANDEM_TESTS_FUZZ_OPERATION_RUN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/session/session_allocator.h"
#include "tandem/session/session_buffers.h"
#include "tandem/tests/fuzz/byte_reader.h"
#include "tandem/tests/fuzz/model_sessions.h"
#include "tandem/tests/fuzz/pool_setup.h"
#include "tandem/tests/spec/sequential_pool.h"

namespace tandem {

// One input's pool, its model, and what has been done with both so far.
class OperationRun {
 public:
  explicit OperationRun(std::span<const uint8_t> input);
  ~OperationRun() { EndAll(); }
  OperationRun(const OperationRun&) = delete;
  OperationRun& operator=(const OperationRun&) = delete;

  // See RunOperations.
  std::string Run();

 private:
  static constexpr size_t kSessions = 8;

  struct Context {
    OperationRun* run;
    size_t session;
  };

  bool Ok() const { return failure_.empty(); }
  template <class T>
  void Expect(std::string_view what, const T& real, const T& expected) {
    if (real == expected || !Ok()) return;
    failure_ = absl::StrCat(what, " is ", real, ", should be ", expected);
  }

  // Does `work` on the current thread.
  void On(std::function<void()> work);
  // Does the next operation of the input.
  void Step();
  void EndAll();

  // Raw operations, and threads.
  void AcquireOne() { AcquireMany(1); }
  void AcquireTwo() { AcquireMany(2); }
  void AcquireSome() { AcquireMany(in_.Below(12)); }
  void AcquireALot() { AcquireMany(in_.Next() * size_t{2}); }
  void AcquireMany(size_t n);
  void ReleaseOne() { ReleaseMany(1); }
  void ReleaseTwo() { ReleaseMany(2); }
  void ReleaseSome() { ReleaseMany(in_.Below(12)); }
  void ReleaseALot() { ReleaseMany(in_.Next() * size_t{2}); }
  void ReleaseMany(size_t n);
  void Trim();
  void Hop();
  void EndThread();

  // Operations of a session: session_operations.cc.
  void Receive();
  void ReceiveDeclared();
  void Pair();
  void Fill();
  void Consume();
  void ReleaseSession();
  void Finish();
  void Cancel();
  void EndSession();

  void Receive(ClassId id, std::string_view name);
  size_t ChooseSession(std::string_view operation);
  Side ChooseSide();
  // Begins an operation that may wait. True if it may: then it uses `waker`.
  bool BeginWait(size_t session, Waker& waker);
  static void Wake(void* context) noexcept;
  void ExpectResult(Allocation result, Allocation expected);

  // Comparison with the model: operation_checks.cc.
  void CheckWakes();
  void CheckSessions();
  void CheckAtRest();
  void CheckDistinct();

  ByteReader in_;
  const PoolSetup setup_;
  const SequentialPool::Rules rules_;
  const std::unique_ptr<BufferPool> pool_;
  const std::unique_ptr<SessionAllocator> allocator_;
  ModelSessions model_;
  std::array<std::unique_ptr<SessionBuffers>, kSessions> sessions_;
  std::array<Context, kSessions> contexts_;
  std::vector<std::byte*> held_;
  std::vector<size_t> wakes_;
  size_t thread_ = 0;
  std::string history_;
  std::string failure_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_FUZZ_OPERATION_RUN_H_
