// A backend whose name has several addresses, some of which do not answer.

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/log/check.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/tests/relay/load.h"
#include "tandem/tests/relay/relay_fixture.h"

namespace {

// The addresses of the name "backend.test", in order.
std::vector<tandem::SocketAddress> name_service;

}  // namespace

// This program's name service, in place of the C library's.
extern "C" int getaddrinfo(const char* host, const char* port,
                           const addrinfo* hints, addrinfo** out) {
  std::vector<tandem::SocketAddress> found;
  if (std::strcmp(host, "backend.test") == 0) {
    found = name_service;
  } else {
    tandem::SocketAddress& address = found.emplace_back();
    auto* const v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
    auto* const v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
      v4->sin_family = AF_INET;
      address.size = sizeof(*v4);
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
      v6->sin6_family = AF_INET6;
      address.size = sizeof(*v6);
    } else {
      return EAI_NONAME;
    }
  }
  *out = nullptr;
  for (size_t i = found.size(); i-- > 0;) {
    // Both address families have the port at the same place.
    reinterpret_cast<sockaddr_in*>(&found[i].storage)->sin_port =
        htons(static_cast<uint16_t>(std::atoi(port)));
    *out = new addrinfo{.ai_flags = 0,
                        .ai_family = found[i].family(),
                        .ai_socktype = hints->ai_socktype,
                        .ai_protocol = 0,
                        .ai_addrlen = found[i].size,
                        .ai_addr = reinterpret_cast<sockaddr*>(
                            new sockaddr_storage(found[i].storage)),
                        .ai_canonname = nullptr,
                        .ai_next = *out};
  }
  return 0;
}

extern "C" void freeaddrinfo(addrinfo* all) {
  while (all != nullptr) {
    delete reinterpret_cast<sockaddr_storage*>(all->ai_addr);
    delete std::exchange(all, all->ai_next);
  }
}

namespace tandem {
namespace {

using ::testing::ElementsAre;

class RelayBackendsTest : public ::testing::Test {
 protected:
  static void SetAddresses(const std::vector<std::string>& hosts) {
    name_service.clear();
    for (const std::string& host : hosts) {
      name_service.push_back(
          ResolveAddress("host", absl::StrCat("[", host, "]:0")).value());
    }
  }
  // The relay's backend is the name, with the port of the address that listens.
  RelayOptions Options() {
    const std::vector<std::string> parts =
        absl::StrSplit(backend_.address(), ':');
    port_ = parts[1];
    return {.backend = absl::StrCat("backend.test:", port_), .buffers = 4};
  }
  void ExpectThatItWorks(TestRelay& relay) {
    const OwnedFd client = Connect(relay.address());
    const OwnedFd server = backend_.Accept();
    SendAll(client, "ping");
    EXPECT_EQ(ReceiveUpTo(server, 4), "ping");
    SendAll(server, "pong");
    EXPECT_EQ(ReceiveUpTo(client, 4), "pong");
  }

  ManualBackend backend_;  // at 127.0.0.1
  std::string port_;
};

TEST_F(RelayBackendsTest, FieldANameHasAllItsAddressesThoseOfIpv6First) {
  SetAddresses({"127.0.0.2", "::1", "127.0.0.1", "::2"});
  const std::vector<SocketAddress> addresses =
      ResolveAddresses("backend", "backend.test:80").value();
  std::vector<std::string> found;
  for (const SocketAddress& a : addresses) found.push_back(a.ToString());
  EXPECT_THAT(found, ElementsAre("[::1]:80", "[::2]:80", "127.0.0.2:80",
                                 "127.0.0.1:80"));
}

TEST_F(RelayBackendsTest, FieldTheNextAddressIsTriedWhereOneRefuses) {
  SetAddresses({"127.0.0.2", "127.0.0.3", "127.0.0.1", "::1"});
  TestRelay relay(Options());
  ExpectThatItWorks(relay);
  EXPECT_EQ(relay.total().connect_failures, 0u);
}

TEST_F(RelayBackendsTest, FieldTheNextAddressIsTriedWhereOneDoesNotAnswer) {
  SetAddresses({"127.0.0.2", "127.0.0.1"});
  RelayOptions options = Options();
  options.connect_timeout = absl::Milliseconds(50);
  // A listener whose queue is full.
  const SocketAddress silent =
      ResolveAddress("silent", absl::StrCat("127.0.0.2:", port_)).value();
  const OwnedFd listener = OpenSocket(AF_INET);
  PCHECK(bind(listener.get(), silent.get(), silent.size) == 0);
  PCHECK(listen(listener.get(), 0) == 0);
  std::vector<OwnedFd> queue;
  for (int i = 0; i < 8; ++i) {
    queue.push_back(OpenSocket(AF_INET));
    PCHECK(connect(queue.back().get(), silent.get(), silent.size) == 0 ||
           errno == EINPROGRESS);
  }
  TestRelay relay(options);
  ExpectThatItWorks(relay);
}

TEST_F(RelayBackendsTest, AClientIsResetWhenNoAddressAnswers) {
  SetAddresses({"127.0.0.2", "127.0.0.3"});
  TestRelay relay(Options());
  const OwnedFd client = Connect(relay.address());
  EXPECT_EQ(EndOf(client), ECONNRESET);
  EXPECT_TRUE(Eventually([&] { return relay.total().finished == 1; }));
  EXPECT_EQ(relay.total().connect_failures, 1u);
}

}  // namespace
}  // namespace tandem
