#ifndef TANDEM_TESTS_RELAY_STATS_HTTP_H_
#define TANDEM_TESTS_RELAY_STATS_HTTP_H_

#include <string>
#include <string_view>

namespace tandem {

struct HttpReply {
  int code = 0;
  std::string head;  // status line and headers
  std::string body;
};

// One request, on a connection of its own. Blocks.
HttpReply Http(const std::string& address, std::string_view method,
               std::string_view path, std::string_view body = "");

}  // namespace tandem

#endif  // TANDEM_TESTS_RELAY_STATS_HTTP_H_
