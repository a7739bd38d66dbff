#include "tandem/pool/region.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif

namespace tandem {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr int kMaxNodes = 1024;
// The largest fixed buffer that io_uring takes.
constexpr size_t kLargestPiece = size_t{1} << 30;

constexpr size_t RoundUp(size_t value, size_t unit) {
  return (value + unit - 1) / unit * unit;
}

absl::Status SetNumaPolicy(std::span<std::byte> bytes,
                           const PoolOptions& options) {
  if (options.numa_policy == NumaPolicy::kLocal) return absl::OkStatus();
  constexpr int kBits = 8 * sizeof(unsigned long);  // NOLINT: mbind's type
  std::array<unsigned long, kMaxNodes / kBits> nodes = {};  // NOLINT
  int mode = MPOL_BIND;
  if (options.numa_policy == NumaPolicy::kInterleave) {
    mode = MPOL_INTERLEAVE;
    if (syscall(SYS_get_mempolicy, nullptr, nodes.data(), kMaxNodes, nullptr,
                MPOL_F_MEMS_ALLOWED) != 0) {
      return absl::ErrnoToStatus(errno, "get_mempolicy of allowed nodes");
    }
  } else {
    nodes[options.numa_node / kBits] |= 1ul << options.numa_node % kBits;
  }
  // The kernel uses one bit fewer than this argument says.
  if (syscall(SYS_mbind, bytes.data(), bytes.size(), mode, nodes.data(),
              kMaxNodes + 1, 0) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("mbind for PoolOptions.numa_policy, node ",
                            options.numa_node));
  }
  return absl::OkStatus();
}

absl::Status Prefault(std::span<std::byte> bytes, size_t page_size) {
  if (madvise(bytes.data(), bytes.size(), MADV_POPULATE_WRITE) == 0) {
    return absl::OkStatus();
  }
  if (errno != EINVAL) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("committing ", bytes.size(),
                                            " bytes for PoolOptions.prefault"));
  }
  for (size_t at = 0; at < bytes.size(); at += page_size) {
    *reinterpret_cast<volatile std::byte*>(&bytes[at]) = std::byte{0};
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Mapping> Mapping::Create(size_t bytes, bool huge) {
  void* const start =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | (huge ? MAP_HUGETLB : MAP_NORESERVE),
           -1, 0);
  if (start == MAP_FAILED) {
    return absl::ErrnoToStatus(
        errno,
        absl::StrCat("mapping ", bytes, " bytes",
                     huge ? " of huge pages (PoolOptions.huge_pages is "
                            "kExplicit: as many pages of 2 MiB must be free in "
                            "/proc/sys/vm/nr_hugepages)"
                          : ""));
  }
  return Mapping({static_cast<std::byte*>(start), bytes});
}

Mapping::~Mapping() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

absl::StatusOr<Region> Region::Create(const PoolOptions& options) {
  const auto page_size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t stride =
      options.buffer_size + (options.debug.canaries ? kCanaryBytes : 0);
  size_t lead = 0;
  if (options.debug.guard_pages) {
    stride = RoundUp(stride, page_size) + page_size;
    lead = page_size;
  }
  size_t size = lead + stride * options.capacity;
  const bool huge = options.huge_pages == HugePages::kExplicit;
  if (huge) size = RoundUp(size, kHugePage);
  absl::StatusOr<Mapping> mapping = Mapping::Create(size, huge);
  if (!mapping.ok()) return std::move(mapping).status();
  const std::span<std::byte> bytes = mapping->bytes();
  // Only advice: it has no effect on a kernel without transparent huge pages.
  if (options.huge_pages == HugePages::kTransparent) {
    madvise(bytes.data(), bytes.size(), MADV_HUGEPAGE);
  }
  if (absl::Status set = SetNumaPolicy(bytes, options); !set.ok()) return set;
  if (options.exclude_from_core_dumps &&
      madvise(bytes.data(), bytes.size(), MADV_DONTDUMP) != 0) {
    return absl::ErrnoToStatus(errno, "PoolOptions.exclude_from_core_dumps");
  }
  if (options.lock_memory && mlock(bytes.data(), bytes.size()) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("locking ", bytes.size(),
                            " bytes for PoolOptions.lock_memory "
                            "(RLIMIT_MEMLOCK)"));
  }
  if (options.prefault) {
    absl::Status committed = Prefault(bytes, page_size);
    if (!committed.ok()) return committed;
  }
  if (options.debug.guard_pages) {
    for (size_t at = 0; at < bytes.size(); at += stride) {
      if (mprotect(&bytes[at], page_size, PROT_NONE) != 0) {
        return absl::ErrnoToStatus(
            errno, absl::StrCat("PoolOptions.debug.guard_pages: page ",
                                at / stride, " of ", options.capacity + 1));
      }
    }
  }
  return Region(*std::move(mapping), options, lead, stride);
}

Region::Region(Mapping mapping, const PoolOptions& options, size_t lead,
               size_t stride)
    : mapping_(std::move(mapping)),
      map_(mapping_.bytes().data() + lead, stride, options.capacity,
           options.name),
      buffer_size_(options.buffer_size),
      page_size_(options.huge_pages == HugePages::kExplicit
                     ? kHugePage
                     : static_cast<size_t>(sysconf(_SC_PAGESIZE))),
      buffers_in_piece_(std::max(kLargestPiece / stride, size_t{1})),
      in_pieces_(!options.debug.guard_pages) {}

size_t Region::piece_count() const {
  if (!in_pieces_) return 0;
  return (map_.capacity() + buffers_in_piece_ - 1) / buffers_in_piece_;
}

std::span<std::byte> Region::piece(size_t i) const {
  const size_t first = i * buffers_in_piece_;
  const size_t count =
      std::min(buffers_in_piece_, size_t{map_.capacity()} - first);
  // Up to the end of the last buffer: the bytes that debug.canaries adds might
  // exceed the limit.
  return bytes().subspan(first * map_.stride(),
                         (count - 1) * map_.stride() + buffer_size_);
}

size_t Region::Discard(const std::byte* buffer) const {
  // Offsets in the mapping, which starts on a page.
  const size_t start = buffer - bytes().data();
  const size_t first = RoundUp(start, page_size_);
  const size_t last = (start + buffer_size_) / page_size_ * page_size_;
  if (first >= last) return 0;
  const std::span<std::byte> pages = bytes().subspan(first, last - first);
  return madvise(pages.data(), pages.size(), MADV_DONTNEED) == 0 ? pages.size()
                                                                 : 0;
}

}  // namespace tandem
