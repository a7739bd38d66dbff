// If preloaded into a program, this library refuses one of its requests to the
// system, or to the C library's allocator: number $REFUSE, counted from 1.
// Requests for memory, mappings, threads, sockets and the descriptors of event
// loops count. The library then creates the file $REFUSED.
//
// It counts from the moment at which the program sets its handler for operator
// new (tools/out_of_memory.h), which is the program's first act. The program is
// not responsible for earlier requests, by the constructors of libraries.

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

extern "C" {
// glibc's own functions.
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
}

namespace {

std::atomic<bool> counts{false};
std::atomic<long> requests{0};

bool Refuses() {
  if (!counts) return false;
  static const char* const number = getenv("REFUSE");
  static const char* const file = getenv("REFUSED");
  if (number == nullptr || file == nullptr) return false;
  static const long which = std::atol(number);
  if (++requests != which) return false;
  close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  return true;
}

template <class Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

std::new_handler std::set_new_handler(std::new_handler handler) noexcept {
  static auto* const next =
      Next<std::new_handler(std::new_handler)>("_ZSt15set_new_handlerPFvvE");
  counts = true;
  return next(handler);
}

extern "C" {

void* malloc(size_t size) {
  if (Refuses()) {
    errno = ENOMEM;
    return nullptr;
  }
  return __libc_malloc(size);
}

void* calloc(size_t count, size_t size) {
  if (Refuses()) {
    errno = ENOMEM;
    return nullptr;
  }
  return __libc_calloc(count, size);
}

void* realloc(void* memory, size_t size) {
  if (Refuses()) {
    errno = ENOMEM;
    return nullptr;
  }
  return __libc_realloc(memory, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
  if (Refuses()) {
    errno = ENOMEM;
    return nullptr;
  }
  return __libc_memalign(alignment, size);
}

void* mmap(void* address, size_t size, int protection, int flags, int fd,
           off_t offset) {
  static auto* const next = Next<decltype(mmap)>("mmap");
  if (Refuses()) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return next(address, size, protection, flags, fd, offset);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                   void* (*start)(void*), void* argument) {
  static auto* const next = Next<decltype(pthread_create)>("pthread_create");
  if (Refuses()) return EAGAIN;
  return next(thread, attributes, start, argument);
}

int socket(int domain, int type, int protocol) {
  static auto* const next = Next<int(int, int, int)>("socket");
  if (Refuses()) {
    errno = EMFILE;
    return -1;
  }
  return next(domain, type, protocol);
}

int eventfd(unsigned value, int flags) {
  static auto* const next = Next<int(unsigned, int)>("eventfd");
  if (Refuses()) {
    errno = EMFILE;
    return -1;
  }
  return next(value, flags);
}

int epoll_create1(int flags) {
  static auto* const next = Next<int(int)>("epoll_create1");
  if (Refuses()) {
    errno = EMFILE;
    return -1;
  }
  return next(flags);
}
}
