#ifndef TANDEM_SESSION_WAIT_CLASS_H_
#define TANDEM_SESSION_WAIT_CLASS_H_

#include <cstdint>
#include <string>

namespace tandem {

// A class of allocations of one buffer that a server declares (S8): they wait
// in one first-come order.
struct WaitClass {
  std::string name;
  uint32_t
      keep;  // buffers that must remain after it: below the pool's capacity
  int rank;  // 1 to 255, smaller is served first; no two are equal
};

// Position of a class in its service's order of ranks: 0 is served first.
enum class ClassId : uint8_t {};
inline constexpr int kMaxClasses = 8;

// The ranks of the three built-in classes, which S6 needs exactly so:
//   complete  holds one buffer, needs the other; keep 0; never held back
//   pair      needs two; keep 0
//   receive   needs one; keep = the pool's reserve
inline constexpr int kCompleteRank = 0;
inline constexpr int kPairRank = 100;
inline constexpr int kReceiveRank = 200;

}  // namespace tandem

#endif  // TANDEM_SESSION_WAIT_CLASS_H_
