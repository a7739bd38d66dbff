#ifndef TANDEM_TESTS_SUPPORT_COROUTINES_H_
#define TANDEM_TESTS_SUPPORT_COROUTINES_H_

#include <coroutine>
#include <exception>
#include <utility>

namespace tandem {

// A coroutine that runs at once and has no owner.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

// A coroutine that runs when it is awaited.
template <class T>
class Task {
 public:
  struct promise_type {
    Task get_return_object() {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct Back {
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(
            std::coroutine_handle<promise_type> ended) noexcept {
          return ended.promise().awaiting;
        }
        void await_resume() noexcept {}
      };
      return Back{};
    }
    void return_value(T result) { value = result; }
    void unhandled_exception() { std::terminate(); }

    T value{};
    std::coroutine_handle<> awaiting;
  };

  explicit Task(std::coroutine_handle<promise_type> coroutine)
      : coroutine_(coroutine) {}
  Task(Task&& other) noexcept
      : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  ~Task() {
    if (coroutine_) coroutine_.destroy();
  }

  bool await_ready() const { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) {
    coroutine_.promise().awaiting = awaiting;
    return coroutine_;
  }
  T await_resume() { return coroutine_.promise().value; }

 private:
  std::coroutine_handle<promise_type> coroutine_;
};

// A coroutine that runs at once, and is destroyed with this object, wherever it
// is suspended.
class Owned {
 public:
  struct promise_type {
    Owned get_return_object() {
      return Owned(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    // Returns to the code that resumed it.
    void unhandled_exception() { throw; }
  };

  explicit Owned(std::coroutine_handle<> coroutine) : coroutine_(coroutine) {}
  Owned(Owned&& other) noexcept
      : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  ~Owned() {
    if (coroutine_) coroutine_.destroy();
  }

 private:
  std::coroutine_handle<> coroutine_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_SUPPORT_COROUTINES_H_
