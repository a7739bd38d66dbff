#ifndef TANDEM_SESSION_SERVE_SCOPE_H_
#define TANDEM_SESSION_SERVE_SCOPE_H_

#include <csignal>

namespace tandem {

// The queues that the calling thread is serving, innermost first: one list for
// each thread, of frames on its stack.
struct ServeFrame {
  const void* queue;
  ServeFrame* outer;
  volatile std::sig_atomic_t again;  // set to request another round
};

// Runs a round of serving. If the calling thread is already serving the same
// queue (a wake-up released buffers, or a signal handler interrupted it), the
// outer call repeats its round instead. So wake-ups do not nest, and the stack
// stays bounded.
//
// Threads: any, including signal handlers.
// Cost:    no atomic operation.
template <class Platform>
class ServeScope {
 public:
  template <class Round>
  static void Run(const void* queue, Round round) {
    ServeFrame*& top = Platform::template PerThread<ServeFrame>();
    for (ServeFrame* frame = top; frame != nullptr; frame = frame->outer) {
      if (frame->queue == queue) {
        frame->again = 1;
        return;
      }
    }
    ServeFrame frame{queue, top, 0};
    do {
      frame.again = 0;
      top = &frame;
      Platform::SignalFence();
      round();
      // Leave the list before reading `again`: a handler that runs after the
      // read serves by itself.
      top = frame.outer;
      Platform::SignalFence();
    } while (frame.again != 0);
  }
};

}  // namespace tandem

#endif  // TANDEM_SESSION_SERVE_SCOPE_H_
