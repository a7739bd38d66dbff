#ifndef TANDEM_POOL_CACHE_OWNERSHIP_H_
#define TANDEM_POOL_CACHE_OWNERSHIP_H_

#include <cstdint>

namespace tandem {

// Names a living thread; may name another one after that thread has ended.
enum class ThreadToken : uintptr_t {};
inline constexpr ThreadToken kNoThread{0};

// The thread that owns a record, or none. All zeros are none.
//
// Threads: any; Disown: the owner. seq_cst (the default): what the last owner
// did comes before what the next one does.
template <class Platform>
class Ownership {
 public:
  Ownership() : owner_(0) {}

  // False if the record has an owner.
  bool TryOwn(ThreadToken thread) {
    auto nobody = static_cast<uintptr_t>(kNoThread);
    return owner_.load() == nobody &&
           owner_.compare_exchange_strong(nobody,
                                          static_cast<uintptr_t>(thread));
  }
  void Disown() { owner_.store(static_cast<uintptr_t>(kNoThread)); }

  // kNoThread if there is none.
  ThreadToken owner() const { return ThreadToken{owner_.load()}; }

 private:
  typename Platform::template OwnAtomic<uintptr_t> owner_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_CACHE_OWNERSHIP_H_
