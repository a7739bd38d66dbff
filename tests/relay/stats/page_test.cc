// The page for people, in a real browser, while the relay works.

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/tests/relay/load.h"
#include "tandem/tests/relay/relay_fixture.h"
#include "tandem/tests/relay/stats/browser.h"
#include "tandem/tools/relay/stats/stats_server.h"

namespace tandem {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// Points of a plot's first curve.
std::string Points(const char* plot) {
  return absl::StrCat("document.querySelector('#", plot,
                      " .curve').getAttribute('d').split('L').length");
}

std::string Text(const char* selector) {
  return absl::StrCat("document.querySelector('", selector, "').textContent");
}

TEST(PageTest, LivesWhileTheRelayWorks) {
  if (!Browser::IsInstalled()) {
    GTEST_SKIP() << "no browser: apt-get install chromium chromium-driver";
  }
  ScriptedBackend backend;
  // Few buffers and many threads, so that sessions wait.
  const RelayOptions options = {
      .backend = backend.address(), .threads = 4, .buffers = 3};
  TestRelay relay(options);
  const auto stats =
      StatsServer::Create("127.0.0.1:0", *relay, options).value();
  const std::string home =
      absl::StrCat("http://", stats->address().ToString(), "/");
  LoadResult load;
  std::atomic<bool> enough{false};
  std::thread peers([&] {
    while (!enough && load.errors == 0) {
      load = RunLoad(relay.address(), {.at_once = 100,
                                       .connections = 1'000'000,
                                       .time = std::chrono::seconds(1)});
    }
  });

  {
    Browser browser;
    browser.Open(home);
    const auto becomes = [&](const std::string& expression) {
      return Eventually([&] { return browser.Evaluate(expression) == true; });
    };
    const std::string state = "document.getElementById('state').dataset.state";
    for (const char* const plot :
         {"plot-traffic", "plot-sessions", "plot-arrivals", "plot-buffers",
          "plot-waiting", "plot-waits"}) {
      EXPECT_TRUE(becomes(absl::StrCat(Points(plot), " >= 3"))) << plot;
    }
    for (const char* const value : {"#plot-traffic .blue span",
                                    "#classes tr:nth-child(2) td:nth-child(3)",
                                    "#loops td:nth-child(3)"}) {
      const std::string first = browser.Evaluate(Text(value));
      EXPECT_NE(first, "");
      EXPECT_TRUE(becomes(absl::StrCat(Text(value), " !== '", first, "'")))
          << value << " stays at " << first;
    }
    EXPECT_TRUE(becomes(state + " === 'short'"));
    EXPECT_EQ(browser.Evaluate("document.documentElement.scrollWidth <= "
                               "document.documentElement.clientWidth"),
              true);

    const std::string background =
        "getComputedStyle(document.body).backgroundColor";
    browser.PreferColors("dark");
    const std::string dark = browser.Evaluate(background);
    browser.PreferColors("light");
    EXPECT_NE(browser.Evaluate(background), dark);
    if (const char* folder = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR")) {
      browser.Screenshot(absl::StrCat(folder, "/page.png"));
    }

    enough = true;
    peers.join();
    EXPECT_TRUE(becomes(state + " === 'fine'"));
    stats->SetDraining();
    EXPECT_TRUE(becomes(state + " === 'draining'"));

    EXPECT_THAT(browser.Errors(), IsEmpty());
    const std::vector<std::string> requests = browser.Requests();
    EXPECT_THAT(requests, Contains(absl::StrCat(home, "status.json")));
    EXPECT_THAT(requests, Each(StartsWith(home)));
  }
  EXPECT_EQ(load.errors, 0u) << load.first_error;
}

TEST(PageTest, TellsOfAnOverload) {
  if (!Browser::IsInstalled()) {
    GTEST_SKIP() << "no browser: apt-get install chromium chromium-driver";
  }
  const ManualBackend backend;
  const RelayOptions options = {.backend = backend.address(),
                                .threads = 1,
                                .buffers = 4,
                                .max_waiters = 1};
  TestRelay relay(options);
  const auto stats =
      StatsServer::Create("127.0.0.1:0", *relay, options).value();
  Browser browser;
  browser.Open(absl::StrCat("http://", stats->address().ToString(), "/"));
  const auto shows = [&](const std::string& state, const std::string& text) {
    return Eventually([&] {
      return browser.Evaluate(
                 "document.getElementById('state').dataset."
                 "state") == state &&
             browser.Evaluate(absl::StrCat(Text("#state"), ".includes('", text,
                                           "')")) == true;
    });
  };
  EXPECT_TRUE(shows("fine", "nobody waits"));

  std::vector<std::byte*> all(options.buffers);
  ASSERT_TRUE(relay->pool().AcquireMany(all));
  const OwnedFd waits = Connect(relay.address());
  SendAll(waits, "x");
  EXPECT_TRUE(
      shows("overloaded", "1 sessions wait for buffers, as many as may"));
  EXPECT_EQ(EndOf(Connect(relay.address())), ECONNRESET);
  EXPECT_TRUE(shows("overloaded", "1 connections refused"));
  relay->pool().ReleaseMany(all);
  EXPECT_TRUE(shows("fine", "nobody waits"));
}

}  // namespace
}  // namespace tandem
