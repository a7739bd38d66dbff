#ifndef TANDEM_TESTS_FUZZ_BYTE_READER_H_
#define TANDEM_TESTS_FUZZ_BYTE_READER_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace tandem {

// Makes decisions from a fuzzer's bytes. After their end every decision is 0.
class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  bool done() const { return bytes_.empty(); }
  uint8_t Next() {
    if (done()) return 0;
    const uint8_t byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  // A number below n, which is 1 to 256.
  uint32_t Below(size_t n) { return Next() % static_cast<uint32_t>(n); }
  bool Flag() { return Below(2) == 1; }
  template <class T, size_t kCount>
  T OneOf(const T (&choices)[kCount]) {
    return choices[Below(kCount)];
  }

 private:
  std::span<const uint8_t> bytes_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_FUZZ_BYTE_READER_H_
