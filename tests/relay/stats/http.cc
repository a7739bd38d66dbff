#include "tandem/tests/relay/stats/http.h"

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/log/check.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tandem/tests/relay/load.h"
#include "tandem/tests/relay/relay_fixture.h"

namespace tandem {
namespace {

// The value of a header, "" if there is none.
std::string Header(const std::string& head, std::string_view name) {
  const std::string lower = absl::AsciiStrToLower(head);
  const std::string start = absl::StrCat("\r\n", name, ":");
  const size_t at = lower.find(start);
  if (at == std::string::npos) return "";
  const size_t value = at + start.size();
  return std::string(absl::StripAsciiWhitespace(
      std::string_view(head).substr(value, head.find("\r\n", value) - value)));
}

}  // namespace

HttpReply Http(const std::string& address, std::string_view method,
               std::string_view path, std::string_view body) {
  const OwnedFd server = Connect(address);
  SendAll(server,
          absl::StrCat(method, " ", path, " HTTP/1.1\r\nHost: ", address,
                       "\r\nConnection: close\r\nContent-Length: ", body.size(),
                       "\r\n\r\n", body));
  HttpReply reply;
  while (reply.head.find("\r\n\r\n") == std::string::npos) {
    const std::string next = ReceiveUpTo(server, 1);
    CHECK(!next.empty()) << "the reply ends early: " << reply.head;
    reply.head += next;
  }
  size_t size = 0;
  CHECK(absl::SimpleAtoi(reply.head.substr(9, 3), &reply.code)) << reply.head;
  CHECK(absl::SimpleAtoi(Header(reply.head, "content-length"), &size))
      << reply.head;
  if (method != "HEAD") reply.body = ReceiveUpTo(server, size);
  return reply;
}

}  // namespace tandem
