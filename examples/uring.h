#ifndef TANDEM_EXAMPLES_URING_H_
#define TANDEM_EXAMPLES_URING_H_

// The common part of io_uring servers.

#include <err.h>
#include <liburing.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "tandem/session/uring_wait.h"

namespace tandem {

// An io_uring(7) in which sessions may wait for buffers. Needs Linux 6.1; the
// program ends without it.
//
// Threads: the one that created it.
class Ring {
 public:
  // Gets the completions of its requests. A request is a number below 8.
  class alignas(8) Handler {
   public:
    virtual void OnCompletion(unsigned request, const io_uring_cqe& cqe) = 0;

   protected:
    ~Handler() = default;
  };

  // Continues once all present completions have been handled.
  class Task {
   public:
    virtual void GoOn() = 0;

   protected:
    ~Task() = default;

   private:
    friend class Ring;
    bool listed_ = false;
  };

  Ring() {
    io_uring_params params = {};
    params.cq_entries = 16384;
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                   IORING_SETUP_CQSIZE;
    errno = -io_uring_queue_init_params(1024, &ring_, &params);
    if (errno != 0) err(1, "io_uring");
    loop_ = UringLoop::Create(ring_).value();
  }
  ~Ring() { io_uring_queue_exit(&ring_); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  UringLoop& loop() { return *loop_; }

  // A request to fill. Null: no task gets its completion.
  io_uring_sqe* NewRequest(Handler* handler, unsigned request) {
    io_uring_sqe* sqe;
    while ((sqe = io_uring_get_sqe(&ring_)) == nullptr) io_uring_submit(&ring_);
    sqe->user_data = reinterpret_cast<uint64_t>(handler) | request;
    return sqe;
  }

  // Makes the task continue.
  void Later(Task& task) {
    if (!std::exchange(task.listed_, true)) tasks_.push_back(&task);
  }

  // Submits, sleeps until there are completions, and handles them.
  void Turn() {
    io_uring_submit_and_wait(&ring_, loop_->Prepare() ? 1 : 0);
    for (io_uring_cqe* cqe; io_uring_peek_cqe(&ring_, &cqe) == 0;) {
      auto* const handler =
          reinterpret_cast<Handler*>(cqe->user_data & ~uint64_t{7});
      if (!loop_->Handle(*cqe) && handler != nullptr) {
        handler->OnCompletion(cqe->user_data & 7, *cqe);
      }
      io_uring_cqe_seen(&ring_, cqe);
    }
    for (Task* const task : std::exchange(tasks_, {})) {
      task->listed_ = false;
      task->GoOn();  // which may destroy it
    }
  }

  // Calls `on_client` with the descriptor of each connection, forever.
  template <class Function>
  [[noreturn]] void Serve(int listener, Function on_client) {
    struct Acceptor final : Handler {
      void OnCompletion(unsigned, const io_uring_cqe& cqe) override {
        if (cqe.res >= 0) on_client(cqe.res);
        if ((cqe.flags & IORING_CQE_F_MORE) == 0) Accept();
      }
      void Accept() {
        io_uring_prep_multishot_accept(ring.NewRequest(this, 0), listener,
                                       nullptr, nullptr, SOCK_CLOEXEC);
      }
      Acceptor(Ring& r, int l, Function& f)
          : ring(r), listener(l), on_client(f) {}
      Ring& ring;
      const int listener;
      Function& on_client;
    } acceptor(*this, listener, on_client);
    acceptor.Accept();
    for (;;) Turn();
  }

 private:
  io_uring ring_;
  std::unique_ptr<UringLoop> loop_;
  std::vector<Task*> tasks_;
};

}  // namespace tandem

#endif  // TANDEM_EXAMPLES_URING_H_
