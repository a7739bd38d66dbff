// E2: the last message is written once, by write(2), after the server's own
// handler has been called.

#include "tandem/pool/die.h"

#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>

#include "gtest/gtest.h"
#include "tandem/pool/buffer_pool.h"
#include "tandem/tests/pool/testing.h"

namespace tandem {
namespace {

void Tell(const char* message) {
  const Message told("handler: ", message, "\n");
  [[maybe_unused]] const auto written =
      write(STDERR_FILENO, told.c_str(), told.text().size());
}

TEST(MessageTest, JoinsTextsNumbersAndAddresses) {
  const Message message("pool \"", std::string("p"), "\": ", uint32_t{0}, ", ",
                        std::numeric_limits<uint64_t>::max(), " at ",
                        reinterpret_cast<const std::byte*>(0x7f001234abcd));
  EXPECT_EQ(message.text(),
            "pool \"p\": 0, 18446744073709551615 at 0x7f001234abcd");
  EXPECT_EQ(message.c_str()[message.text().size()], '\0');
}

TEST(MessageTest, CutsLongTextsAndLeavesRoomForWhatFollows) {
  const Message message(std::string(100'000, 'x'), " was released twice");
  EXPECT_EQ(message.text(),
            std::string(Message::kMaxText, 'x') + " was released twice");
}

TEST(MessageTest, EndsWhereItsRoomDoes) {
  Message message;
  for (int i = 0; i < 10; ++i) message.Append(std::string(150, 'y'));
  message.Append(uint64_t{7});
  EXPECT_EQ(message.text(), std::string(Message::kMaxMessage, 'y'));
  EXPECT_EQ(message.c_str()[Message::kMaxMessage], '\0');
}

TEST(MessageTest, IsWrittenAsOneLine) {
  const ErrorCapture errors;
  Message message("buffer ", uint64_t{3});
  message.Write();
  EXPECT_EQ(errors.text(), "buffer 3\n");
  EXPECT_STREQ(message.c_str(), "buffer 3");
}

TEST(DieTest, WritesTheMessageAndAborts) {
  EXPECT_EXIT(Die("pool \"a\": ", uint64_t{7}, " went wrong"),
              testing::KilledBySignal(SIGABRT), "^pool \"a\": 7 went wrong\n$");
}

TEST(DieTest, HandlerComesFirstAndTheMessageAllTheSame) {
  EXPECT_EXIT(
      {
        SetAbortHandler(Tell);
        Die("went wrong");
      },
      testing::KilledBySignal(SIGABRT), "^handler: went wrong\nwent wrong\n$");
}

TEST(DieTest, HandlerThatDiesIsNotCalledAgain) {
  EXPECT_EXIT(
      {
        SetAbortHandler([](const char* message) {
          Tell(message);
          Die("and so did the handler");
        });
        Die("went wrong");
      },
      testing::KilledBySignal(SIGABRT),
      "^handler: went wrong\nand so did the handler\n$");
}

TEST(DieTest, HandlerNeedNotReturn) {
  EXPECT_EXIT(
      {
        SetAbortHandler([](const char*) { _exit(7); });
        Die("went wrong");
      },
      testing::ExitedWithCode(7), "^$");
}

TEST(DieTest, TellsWhichHandlerItReplaces) {
  EXPECT_EQ(SetAbortHandler(Tell), nullptr);
  EXPECT_EQ(SetAbortHandler(nullptr), Tell);
}

TEST(DieTest, MisuseInASignalHandlerIsToldTheSameWay) {
  static BufferPool* used = nullptr;
  static std::byte* buffer = nullptr;
  const auto pool = NewPool({.name = "signalled", .capacity = 8});
  used = pool.get();
  buffer = pool->Acquire();
  pool->Release(buffer);
  EXPECT_EXIT(
      {
        SetAbortHandler(Tell);
        std::signal(SIGUSR1, [](int) { used->Release(buffer); });
        std::raise(SIGUSR1);
      },
      testing::KilledBySignal(SIGABRT),
      "^handler: tandem: pool \"signalled\": buffer 0x[0-9a-f]+ \\(number "
      "[0-9]+\\) was released twice\ntandem: pool \"signalled\"");
}

}  // namespace
}  // namespace tandem
