#include "camera/curl_client.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "camera/scripted_server.h"

namespace sightline {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::unique_ptr<HttpClient> Client(CurlClientOptions options = {}) {
  auto client = CreateCurlClient(options);
  EXPECT_TRUE(client.ok());
  return std::move(client).value();
}

TEST(CurlClient, PostsAndKeepsTheConnection) {
  std::vector<ScriptedServer::Request> requests;
  ScriptedServer server([&](const ScriptedServer::Request& request) {
    requests.push_back(request);
    return ScriptedServer::Answer("200 OK", "answer " + std::to_string(requests.size()));
  });
  const auto client = Client();
  const std::string large(3 << 20, 'x');
  for (const std::string& body : {std::string("one\n"), std::string("two\0\n", 5), large}) {
    const HttpResponse response =
        client->Post(server.url() + "/v1/detections", {"Content-Type: application/x-ndjson"}, body);
    EXPECT_EQ(response.status, 200) << response.error;
    EXPECT_EQ(response.body, "answer " + std::to_string(requests.size()));
    EXPECT_FALSE(response.retry_after);
    EXPECT_EQ(requests.back().body, body);
    EXPECT_EQ(requests.back().connection, 1);
    EXPECT_EQ(requests.back().head.rfind("post /v1/detections http/1.1\r\n", 0), 0u);
    EXPECT_NE(requests.back().head.find("content-type: application/x-ndjson\r\n"),
              std::string::npos);
    EXPECT_EQ(requests.back().head.find("expect:"), std::string::npos);
  }
}

TEST(CurlClient, ReadsRetryAfter) {
  ScriptedServer server([](const ScriptedServer::Request&) {
    return ScriptedServer::Answer("429 Too Many Requests", "later", "Retry-After: 7\r\n");
  });
  const HttpResponse response = Client()->Post(server.url(), {}, "x");
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.retry_after, Millis{7'000});
}

TEST(CurlClient, ReadsTruncated) {
  int requests = 0;
  ScriptedServer server([&](const ScriptedServer::Request&) {
    return ScriptedServer::Answer("200 OK", "[]", ++requests == 1 ? "X-Truncated: true\r\n" : "");
  });
  const auto client = Client();
  EXPECT_TRUE(client->Get(server.url()).truncated);
  EXPECT_FALSE(client->Get(server.url()).truncated);
}

TEST(CurlClient, ReadsIncomplete) {
  int requests = 0;
  ScriptedServer server([&](const ScriptedServer::Request&) {
    return ScriptedServer::Answer("200 OK", "[]",
                                  ++requests == 1 ? "X-Incomplete: [{\"partition\":3}]\r\n" : "");
  });
  const auto client = Client();
  EXPECT_EQ(client->Get(server.url()).incomplete, R"([{"partition":3}])");
  EXPECT_EQ(client->Get(server.url()).incomplete, "");
}

TEST(CurlClient, FollowsNoRedirect) {
  int requests = 0;
  ScriptedServer server([&](const ScriptedServer::Request&) {
    ++requests;
    return ScriptedServer::Answer("307 Temporary Redirect", "", "Location: /elsewhere\r\n");
  });
  EXPECT_EQ(Client()->Post(server.url(), {}, "x").status, 307);
  EXPECT_EQ(requests, 1);
}

TEST(CurlClient, NobodyThereIsNoAnswer) {
  uint16_t port = 0;
  {
    ScriptedServer server([](const auto&) { return std::string(); });
    port = server.port();
  }
  const HttpResponse response = Client()->Post("http://127.0.0.1:" + std::to_string(port), {}, "x");
  EXPECT_EQ(response.status, 0);
  EXPECT_FALSE(response.error.empty());
  EXPECT_EQ(Client()->Post("file:///etc/hostname", {}, "x").status, 0);
  EXPECT_EQ(Client()->Post("not a url", {}, "x").status, 0);
}

TEST(CurlClient, ASilentServerIsATimeout) {
  ScriptedServer server([](const auto&) { return std::string(); });
  const auto begin = steady_clock::now();
  const HttpResponse response = Client({.timeout = {100}})->Post(server.url(), {}, "x");
  EXPECT_EQ(response.status, 0);
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(2));
}

TEST(CurlClient, ACutOrEndlessAnswerIsNone) {
  ScriptedServer server([](const ScriptedServer::Request& request) {
    if (request.body == "cut")
      return std::string("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    return ScriptedServer::Answer("200 OK", std::string(5'000, 'x'));
  });
  const auto client = Client({.timeout = {100}, .answer_bytes_max = 4'000});
  for (const char* body : {"cut", "endless"}) {
    const HttpResponse response = client->Post(server.url(), {}, body);
    EXPECT_EQ(response.status, 0);
    EXPECT_EQ(response.body, "");
  }
}

TEST(CurlClient, CancelEndsAPost) {
  ScriptedServer server([](const auto&) { return std::string(); });
  const auto client = Client();
  const auto begin = steady_clock::now();
  std::thread canceller([&] {
    std::this_thread::sleep_for(milliseconds(20));
    client->Cancel();
  });
  EXPECT_EQ(client->Post(server.url(), {}, "x").status, 0);
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(3));
  canceller.join();
}

TEST(CurlClient, LoopbackNeedsNoProxy) {
  ScriptedServer server([](const auto&) { return ScriptedServer::Answer("200 OK", "direct"); });
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  const auto client = Client();
  EXPECT_EQ(client->Post(server.url(), {}, "x").body, "direct");
  EXPECT_EQ(client->Post("http://localhost:" + std::to_string(server.port()), {}, "x").body,
            "direct");
  ::unsetenv("http_proxy");
}

}  // namespace
}  // namespace sightline
