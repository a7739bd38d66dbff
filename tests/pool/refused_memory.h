#ifndef TANDEM_TESTS_POOL_REFUSED_MEMORY_H_
#define TANDEM_TESTS_POOL_REFUSED_MEMORY_H_

#include <cstddef>

namespace tandem {

// Refuses memory to the calling thread when it calls operator new, in any form.
class RefusedMemory {
 public:
  enum Which { kOne, kAllFromThere };

  // While it lives: refuses request number `nth` from here on, counted from 0.
  RefusedMemory(size_t nth, Which which);
  ~RefusedMemory();
  RefusedMemory(const RefusedMemory&) = delete;
  RefusedMemory& operator=(const RefusedMemory&) = delete;

  // True if a request has been refused.
  bool refused() const;
};

// Calls attempt(nth, which) for each request in turn, in both ways, until it
// returns false: nothing was refused. Returns the number of refused requests.
template <class Attempt>
size_t ForEachRequest(Attempt attempt) {
  size_t places = 0;
  for (const auto which : {RefusedMemory::kOne, RefusedMemory::kAllFromThere}) {
    for (size_t nth = 0; attempt(nth, which); ++nth) ++places;
  }
  return places;
}

}  // namespace tandem

#endif  // TANDEM_TESTS_POOL_REFUSED_MEMORY_H_
