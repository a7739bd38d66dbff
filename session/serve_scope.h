#ifndef TANDEM_SESSION_SERVE_SCOPE_H_
#define TANDEM_SESSION_SERVE_SCOPE_H_

#include <csignal>

namespace tandem {

// What the calling thread is serving now, innermost first. One list a thread,
// of frames on its stack.
struct ServeFrame {
  const void* queue;
  ServeFrame* outer;
  volatile std::sig_atomic_t again;  // asked to serve once more
};

// Runs a round of serving, unless the calling thread is in one for the same
// queue already (a wake-up released buffers, or a signal handler came between):
// then that one repeats its round when it is done. So wake-ups do not nest, and
// the stack stays bounded.
//
// Threads: any, signal handlers included. Cost: no atomic operation.
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
      // Off the list before the look: what a handler asks for after the look
      // it serves itself.
      top = frame.outer;
      Platform::SignalFence();
    } while (frame.again != 0);
  }
};

}  // namespace tandem

#endif  // TANDEM_SESSION_SERVE_SCOPE_H_
