#ifndef TANDEM_POOL_MAPPED_ARRAY_H_
#define TANDEM_POOL_MAPPED_ARRAY_H_

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include "absl/status/statusor.h"
#include "tandem/pool/region.h"

namespace tandem {

// An array of T in memory of its own, which the system commits on first use.
// All bytes are zero, and no constructor is called: so zeros must be a valid T,
// or the user constructs each T in place before using it.
template <class T>
class MappedArray {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  static absl::StatusOr<MappedArray> Create(size_t count) {
    if (count == 0) return MappedArray(Mapping(), 0);
    absl::StatusOr<Mapping> mapping = Mapping::Create(sizeof(T) * count);
    if (!mapping.ok()) return std::move(mapping).status();
    return MappedArray(*std::move(mapping), count);
  }

  std::span<T> get() const {
    return {reinterpret_cast<T*>(mapping_.bytes().data()), count_};
  }

 private:
  MappedArray(Mapping mapping, size_t count)
      : mapping_(std::move(mapping)), count_(count) {}

  Mapping mapping_;
  size_t count_;
};

}  // namespace tandem

#endif  // TANDEM_POOL_MAPPED_ARRAY_H_
