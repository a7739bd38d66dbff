#ifndef TANDEM_SESSION_ASIO_COMPLETION_H_
#define TANDEM_SESSION_ASIO_COMPLETION_H_

#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/dispatch.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <atomic>
#include <memory>
#include <tuple>
#include <utility>

namespace tandem {

// Keeps the completion handler of an Asio operation and calls it once: on the
// handler's associated executor, or else on the executor of the operation's
// context. An exception that the handler throws goes where Asio's own
// exceptions go: out of run(), if an io_context runs the handler.
//
// Threads: one at a time.
// Memory:  one allocation, plus what Asio allocates for the call.
template <class... Args>
class AsioHandler {
 public:
  AsioHandler() = default;

  template <class Handler>
  AsioHandler(Handler handler, asio::io_context& context)
      : kept_(std::make_unique<Kept<Handler>>(std::move(handler), context)) {}

  // `on_cancel` is called when the handler's cancellation slot is triggered,
  // but not after Dispatch or Post has been called. As with Asio's own
  // operations, the cancelling code must run on the handler's executor.
  template <class Handler, class OnCancel>
  AsioHandler(Handler handler, asio::io_context& context, OnCancel on_cancel)
      : AsioHandler(std::move(handler), context) {
    auto slot = asio::get_associated_cancellation_slot(
        static_cast<Kept<Handler>&>(*kept_).handler);
    if (!slot.is_connected()) return;
    slot.assign([&called = kept_->called, on_cancel](auto) {
      if (!called) on_cancel();
    });
  }

  explicit operator bool() const { return kept_ != nullptr; }

  // Calls the handler, in place if this thread already runs its executor.
  void Dispatch(Args... args) && { Run(kInPlace, args...); }
  // Calls the handler, but not before this function returns.
  void Post(Args... args) && { Run(kLater, args...); }

 private:
  enum When { kInPlace, kLater };

  struct Base {
    virtual ~Base() = default;
    virtual void Run(std::unique_ptr<Base> self, When when, Args... args) = 0;

    std::atomic<bool> called{false};
  };

  template <class Handler>
  struct Kept final : Base {
    Kept(Handler h, asio::io_context& context)
        : handler(std::move(h)),
          work(asio::get_associated_executor(handler, context.get_executor())) {
    }

    void Run(std::unique_ptr<Base> self, When when, Args... args) override {
      this->called = true;
      const auto executor = work.get_executor();
      auto call = [self = std::move(self),
                   bound = std::tuple(args...)]() mutable {
        Handler h = std::move(static_cast<Kept&>(*self).handler);
        asio::get_associated_cancellation_slot(h).clear();
        self.reset();
        std::apply(std::move(h), std::move(bound));
      };
      if (when == kLater) {
        asio::post(executor, std::move(call));
      } else {
        asio::dispatch(executor, std::move(call));
      }
    }

    Handler handler;
    // The handler's context keeps running until the handler has been called.
    asio::executor_work_guard<
        asio::associated_executor_t<Handler, asio::io_context::executor_type>>
        work;
  };

  void Run(When when, Args... args) {
    Base& kept = *kept_;
    kept.Run(std::move(kept_), when, args...);
  }

  std::unique_ptr<Base> kept_;
};

// An asynchronous Asio operation that ends when Complete is called.
//
//   AsioCompletion<int> done(context);
//   const int answer = co_await done.AsyncWait(asio::use_awaitable);
//   // meanwhile, in the same loop: done.Complete(42)
//
// Threads: one at a time, the loop's thread.
template <class... Args>
class AsioCompletion {
 public:
  explicit AsioCompletion(asio::io_context& context) : context_(context) {}
  AsioCompletion(const AsioCompletion&) = delete;
  AsioCompletion& operator=(const AsioCompletion&) = delete;

  bool pending() const { return static_cast<bool>(pending_); }

  // Ends at the next Complete. At most one wait at a time.
  template <class CompletionToken>
  auto AsyncWait(CompletionToken&& token) {
    return asio::async_initiate<CompletionToken, void(Args...)>(
        [this](auto handler) {
          pending_ = AsioHandler<Args...>(std::move(handler), context_);
        },
        token);
  }

  // Calls the handler, in place if this thread already runs its executor. Does
  // nothing if there is no handler.
  void Complete(Args... args) {
    // Move the handler out first: it may wait again, or destroy this object.
    if (AsioHandler<Args...> ended = std::move(pending_)) {
      std::move(ended).Dispatch(args...);
    }
  }

 private:
  asio::io_context& context_;
  AsioHandler<Args...> pending_;
};

}  // namespace tandem

#endif  // TANDEM_SESSION_ASIO_COMPLETION_H_
