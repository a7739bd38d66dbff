#ifndef TANDEM_TESTS_FUZZ_POOL_SETUP_H_
#define TANDEM_TESTS_FUZZ_POOL_SETUP_H_

#include <string>

#include "tandem/pool/options.h"
#include "tandem/session/session_allocator.h"
#include "tandem/tests/fuzz/byte_reader.h"
#include "tandem/tests/spec/sequential_pool.h"

namespace tandem {

// A pool and its session layer, chosen by bytes; every choice is valid.
struct PoolSetup {
  explicit PoolSetup(ByteReader& in);

  // The same setup for the specification.
  SequentialPool::Rules Rules() const;
  std::string ToString() const;

  PoolOptions pool;
  SessionOptions sessions;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_FUZZ_POOL_SETUP_H_
