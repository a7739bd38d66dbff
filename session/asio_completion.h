#ifndef TANDEM_SESSION_ASIO_COMPLETION_H_
#define TANDEM_SESSION_ASIO_COMPLETION_H_

#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/dispatch.hpp>
#include <asio/executor_work_guard.hpp>
#include <memory>
#include <tuple>
#include <utility>

namespace tandem {

// The completion handler of an asynchronous operation of Asio's, kept until
// somebody completes it.
//
//   AsioCompletion<int> done;
//   const int answer = co_await done.AsyncWait(asio::use_awaitable);
//   // meanwhile, in the same loop: done.Complete(42)
//
// Threads: one at a time, the loop's.
// Memory:  one allocation for each wait.
template <class... Args>
class AsioCompletion {
 public:
  AsioCompletion() = default;
  AsioCompletion(const AsioCompletion&) = delete;
  AsioCompletion& operator=(const AsioCompletion&) = delete;

  bool pending() const { return pending_ != nullptr; }

  // An asynchronous operation that ends with the next Complete. One at a time.
  // `on_start` is called once the handler is kept, with the handler's
  // cancellation slot.
  template <class CompletionToken, class OnStart>
  auto AsyncWait(CompletionToken&& token, OnStart on_start) {
    return asio::async_initiate<CompletionToken, void(Args...)>(
        [this, on_start](auto handler) {
          const auto slot = asio::get_associated_cancellation_slot(handler);
          pending_ =
              std::make_unique<Kept<decltype(handler)>>(std::move(handler));
          on_start(slot);
        },
        token);
  }
  template <class CompletionToken>
  auto AsyncWait(CompletionToken&& token) {
    return AsyncWait(std::forward<CompletionToken>(token), [](const auto&) {});
  }

  // Calls the handler through its executor: in place, if that is this loop's.
  // Nothing happens if there is none.
  void Complete(Args... args) {
    // Moved out first: the handler may wait again, or destroy this.
    if (const auto ended = std::move(pending_)) ended->Run(args...);
  }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual void Run(Args... args) = 0;
  };

  template <class Handler>
  struct Kept final : Base {
    explicit Kept(Handler h)
        : handler(std::move(h)), work(asio::get_associated_executor(handler)) {}

    void Run(Args... args) override {
      asio::get_associated_cancellation_slot(handler).clear();
      const auto executor = work.get_executor();
      asio::dispatch(executor, [h = std::move(handler),
                                bound = std::tuple(args...)]() mutable {
        std::apply(std::move(h), bound);
      });
    }

    Handler handler;
    // The handler's context goes on running until it has been called.
    asio::executor_work_guard<asio::associated_executor_t<Handler>> work;
  };

  std::unique_ptr<Base> pending_;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_ASIO_COMPLETION_H_
