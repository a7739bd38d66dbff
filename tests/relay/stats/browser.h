#ifndef TANDEM_TESTS_RELAY_STATS_BROWSER_H_
#define TANDEM_TESTS_RELAY_STATS_BROWSER_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nlohmann/json.hpp"
#include "tandem/tests/relay/relay_process.h"

namespace tandem {

// Debian's Chromium without a window, with a profile of its own, driven by
// WebDriver. It ends with its owner.
class Browser {
 public:
  static bool IsInstalled();

  Browser();
  ~Browser();

  void Open(const std::string& url);
  // The value of a JavaScript expression on the page.
  nlohmann::json Evaluate(std::string_view expression);
  // As a person might have set it: "light" or "dark".
  void PreferColors(std::string_view scheme);
  // Page errors and failed loads since the last call.
  std::vector<std::string> Errors();
  // The URLs that have been asked for since the last call.
  std::vector<std::string> Requests();
  // A PNG of what is in the window.
  void Screenshot(const std::string& file);

 private:
  nlohmann::json Command(std::string_view method, std::string_view path,
                         const nlohmann::json& body = nullptr);
  nlohmann::json Log(std::string_view type);

  Process driver_;
  std::string address_;
  std::string session_;
};

}  // namespace tandem

#endif  // TANDEM_TESTS_RELAY_STATS_BROWSER_H_
