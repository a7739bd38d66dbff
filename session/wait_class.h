#ifndef TANDEM_SESSION_WAIT_CLASS_H_
#define TANDEM_SESSION_WAIT_CLASS_H_

#include <cstdint>
#include <string>

#include "tandem/pool/types.h"

namespace tandem {

// A class of allocations of one buffer that a server declares (S8). Its waiters
// are served first come, first served.
struct WaitClass {
  std::string name;
  // Buffers that must remain after an allocation: 0 to the pool's capacity - 1.
  uint32_t keep = 0;
  // 1 to 255; a smaller rank is served first. No two classes have the same
  // rank.
  int rank = 0;
};

// The most classes of a SessionAllocator; their ids are 0, 1, 2 ... in order of
// rank.
inline constexpr int kMaxClasses = 8;

// The ranks of the three built-in classes. S6 needs exactly this order:
//   complete  holds one buffer, needs the other; keep 0; never held back
//   pair      needs two; keep 0
//   receive   needs one; keep = the pool's reserve
inline constexpr int kCompleteRank = 0;
inline constexpr int kPairRank = 100;
inline constexpr int kReceiveRank = 200;

}  // namespace tandem

#endif  // TANDEM_SESSION_WAIT_CLASS_H_
