#ifndef TANDEM_TESTS_SUPPORT_INTERRUPTIONS_H_
#define TANDEM_TESTS_SUPPORT_INTERRUPTIONS_H_

#include <sys/time.h>

#include <csignal>

namespace tandem {

// A timer whose signal interrupts the test's only thread again and again while
// this object lives: sooner or later between any two instructions.
class Interruptions {
 public:
  explicit Interruptions(void (*handler)(int)) {
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, &before_);
    const timeval often = {.tv_sec = 0, .tv_usec = 50};
    const itimerval timer = {.it_interval = often, .it_value = often};
    setitimer(ITIMER_REAL, &timer, nullptr);
  }
  ~Interruptions() {
    const itimerval off = {};
    setitimer(ITIMER_REAL, &off, nullptr);
    sigaction(SIGALRM, &before_, nullptr);
  }
  Interruptions(const Interruptions&) = delete;
  Interruptions& operator=(const Interruptions&) = delete;

 private:
  struct sigaction before_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SUPPORT_INTERRUPTIONS_H_
