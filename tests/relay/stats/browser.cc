#include "tandem/tests/relay/stats/browser.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/log/check.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tandem/tests/relay/stats/http.h"

namespace tandem {
namespace {

using Json = nlohmann::json;

constexpr char kChromium[] = "/usr/bin/chromium";
constexpr char kDriver[] = "/usr/bin/chromedriver";

}  // namespace

bool Browser::IsInstalled() {
  return access(kChromium, X_OK) == 0 && access(kDriver, X_OK) == 0;
}

Browser::Browser() : driver_({kDriver, "--port=0"}) {
  const std::string folder = ::testing::TempDir();
  // "ChromeDriver was started successfully on port N."
  const std::string words = "successfully on port ";
  std::string line = driver_.ReadLine();
  while (line.find(words) == std::string::npos) {
    CHECK(!line.empty()) << driver_.Messages();
    line = driver_.ReadLine();
  }
  const size_t port = line.find(words) + words.size();
  address_ =
      absl::StrCat("127.0.0.1:", line.substr(port, line.rfind('.') - port));

  const Json options = {
      {"binary", kChromium},
      {"args",
       {"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--hide-scrollbars", "--window-size=1240,1060",
        // The browser ends with its driver.
        "--remote-debugging-pipe",
        absl::StrCat("--user-data-dir=", folder, "/profile")}}};
  const Json capabilities = {
      {"browserName", "chrome"},
      {"goog:chromeOptions", options},
      {"goog:loggingPrefs", {{"browser", "ALL"}, {"performance", "ALL"}}}};
  const Json session =
      Command("POST", "", {{"capabilities", {{"alwaysMatch", capabilities}}}});
  session_ = absl::StrCat("/", session["sessionId"].get<std::string>());
}

Browser::~Browser() { Command("DELETE", ""); }

Json Browser::Command(std::string_view method, std::string_view path,
                      const Json& body) {
  const HttpReply reply =
      Http(address_, method, absl::StrCat("/session", session_, path),
           body.is_null() ? "" : body.dump());
  CHECK_EQ(reply.code, 200) << method << " " << path << ": " << reply.body;
  return Json::parse(reply.body)["value"];
}

void Browser::Open(const std::string& url) {
  Command("POST", "/url", {{"url", url}});
}

Json Browser::Evaluate(std::string_view expression) {
  return Command("POST", "/execute/sync",
                 {{"script", absl::StrCat("return ", expression)},
                  {"args", Json::array()}});
}

void Browser::PreferColors(std::string_view scheme) {
  const Json feature = {{"name", "prefers-color-scheme"}, {"value", scheme}};
  Command("POST", "/goog/cdp/execute",
          {{"cmd", "Emulation.setEmulatedMedia"},
           {"params", {{"features", Json::array({feature})}}}});
}

Json Browser::Log(std::string_view type) {
  return Command("POST", "/se/log", {{"type", type}});
}

std::vector<std::string> Browser::Errors() {
  std::vector<std::string> errors;
  for (const Json& entry : Log("browser")) {
    errors.push_back(entry["message"]);
  }
  return errors;
}

std::vector<std::string> Browser::Requests() {
  std::vector<std::string> urls;
  for (const Json& entry : Log("performance")) {
    const Json event =
        Json::parse(entry["message"].get<std::string>())["message"];
    if (event["method"] != "Network.requestWillBeSent") continue;
    const std::string url = event["params"]["request"]["url"];
    // The browser's own first page makes no request.
    if (url.starts_with("chrome://") || url.starts_with("data:")) continue;
    urls.push_back(url);
  }
  return urls;
}

void Browser::Screenshot(const std::string& file) {
  std::string png;
  CHECK(absl::Base64Unescape(Command("GET", "/screenshot").get<std::string>(),
                             &png));
  std::ofstream(file, std::ios::binary) << png;
}

}  // namespace tandem
