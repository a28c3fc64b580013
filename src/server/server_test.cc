#include "server/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "query/test_lake_source.h"

namespace sightline {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;
using testing::Not;

constexpr int64_t kNow = 1'763'800'025'000;

// A blocking HTTP client, as small and as rude as the tests need it. Gives up after 5 s.
class Client {
 public:
  struct Answer {
    int status = 0;  // 0: the connection ended
    std::map<std::string, std::string> headers;
    std::string body;
  };

  // `receive_bytes`: of the socket's buffer, 0 for the system's choice. `from`: its own address.
  explicit Client(int port, int receive_bytes = 0, const char* from = nullptr)
      : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval timeout{.tv_sec = 5};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (receive_bytes > 0)
      setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (from != nullptr) {
      sockaddr_in own{.sin_family = AF_INET};
      own.sin_addr.s_addr = inet_addr(from);
      EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&own), sizeof own), 0);
    }
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~Client() { close(socket_); }
  // Whether something to Read() is there by then.
  bool Hears(milliseconds patience) {
    pollfd waiting{.fd = socket_, .events = POLLIN};
    return poll(&waiting, 1, static_cast<int>(patience.count())) == 1;
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }
  bool Request(std::string_view method, std::string_view target, std::string_view headers = {},
               std::string_view body = {}) {
    std::string request(method);
    request.append(" ").append(target).append(" HTTP/1.1\r\nHost: localhost\r\n").append(headers);
    if (method == "POST") request += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    return Send(request.append("\r\n").append(body));
  }
  Answer Read(bool head_only = false) {
    Answer answer;
    const std::string head = ReadUntil("\r\n\r\n");
    if (!head.starts_with("HTTP/1.1 ") || !head.ends_with("\r\n\r\n")) return answer;
    answer.status = std::stoi(head.substr(9));
    for (size_t at = head.find("\r\n") + 2; at + 2 < head.size();) {
      const size_t colon = head.find(": ", at), end = head.find("\r\n", at);
      answer.headers[head.substr(at, colon - at)] = head.substr(colon + 2, end - colon - 2);
      at = end + 2;
    }
    const auto length = answer.headers.find("Content-Length");
    if (head_only || length == answer.headers.end()) return answer;
    const size_t bytes = std::stoul(length->second);
    while (buffer_.size() < bytes && ReadMore()) {
    }
    answer.body = buffer_.substr(0, bytes);
    buffer_.erase(0, bytes);
    return answer;
  }
  Answer Get(std::string_view target, std::string_view headers = {}) {
    Request("GET", target, headers);
    return Read();
  }
  Answer Post(std::string_view body, std::string_view headers = {}) {
    Request("POST", "/v1/detections", headers, body);
    return Read();
  }
  // All bytes until `end` has come, with it; what came if it never does.
  std::string ReadUntil(std::string_view end) {
    size_t at;
    while ((at = buffer_.find(end)) == buffer_.npos && ReadMore()) {
    }
    const std::string read = buffer_.substr(0, at == buffer_.npos ? at : at + end.size());
    buffer_.erase(0, read.size());
    return read;
  }
  // The next server-sent event of this kind, as it came.
  std::string ReadEvent(std::string_view kind) {
    const std::string line = "event: " + std::string(kind) + "\n";
    for (;;) {
      const std::string event = ReadUntil("\n\n");
      if (event.empty() || event.find(line) != event.npos) return event;
    }
  }
  // Whether the server closes within the timeout; what comes before is dropped.
  bool ReadsEnd() {
    buffer_.clear();
    char bytes[4'096];
    ssize_t count;
    while ((count = recv(socket_, bytes, sizeof bytes, 0)) > 0) {
    }
    return count == 0 || errno == ECONNRESET;
  }

 private:
  bool ReadMore() {
    char bytes[16 * 1'024];
    const ssize_t count = recv(socket_, bytes, sizeof bytes, 0);
    if (count > 0) buffer_.append(bytes, static_cast<size_t>(count));
    return count > 0;
  }
  const int socket_;
  std::string buffer_;
};

// A log that does as it is told.
class FakeLog final : public DetectionLog {
 public:
  enum class Mode { kDurable, kFull, kFailing, kHeld };

  int32_t partitions() const override { return 4; }
  bool Append(std::vector<PackedRecords> records, std::function<void(Status)> done) override {
    const std::lock_guard lock(mutex_);
    if (mode_ == Mode::kFull) return false;
    if (mode_ == Mode::kFailing) {
      done(Status::Retry("the disk is full"));
      return true;
    }
    for (const PackedRecords& of_partition : records) {
      ByteReader reader(of_partition.bytes);
      while (reader.remaining() > 0) records_.emplace_back(reader.String());
    }
    if (mode_ == Mode::kDurable) {
      done(Status::Ok());
    } else {
      held_.push_back(std::move(done));
      changed_.notify_all();
    }
    return true;
  }
  void SetMode(Mode mode) {
    const std::lock_guard lock(mutex_);
    mode_ = mode;
  }
  void WaitForHeld(size_t count) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(
        changed_.wait_for(lock, std::chrono::seconds(5), [&] { return held_.size() >= count; }));
  }
  // Answers what was held, on another thread than the caller's, as a log does.
  void Release() {
    std::vector<std::function<void(Status)>> held;
    {
      const std::lock_guard lock(mutex_);
      held.swap(held_);
    }
    std::thread([&] {
      for (const auto& done : held) done(Status::Ok());
    }).join();
  }
  std::vector<std::string> records() {
    const std::lock_guard lock(mutex_);
    return records_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Mode mode_ = Mode::kDurable;
  std::vector<std::function<void(Status)>> held_;
  std::vector<std::string> records_;
};

std::string Detection(int64_t id) {
  return R"({"geographical_location_oid":7001,"video_camera_oid":3,"detection_oid":)" +
         std::to_string(id) + R"(,"item_name":"bus","timestamp_detected":1763800020000})";
}

class ServerTest : public testing::Test {
 protected:
  ServerTest() : live_({}, &clock_), hub_(&live_, &clock_, {.heartbeat = Millis{100}}) {}

  void Start(ServerOptions options = {}) {
    options.port = 0;
    Result<std::unique_ptr<Server>> server =
        Server::Start(options, PipelineSpec{},
                      {.log = &log_,
                       .live = &live_,
                       .hub = &hub_,
                       .queries = queries_.get(),
                       .clock = &clock_,
                       .metrics = [this] { return metrics_; },
                       .health = [this] { return health_; },
                       .alive = [this] { return alive_; },
                       .ready = [this] { return ready_; },
                       .live_not_ready = [this] { return live_not_ready_; },
                       .alerts = alerts_});
    ASSERT_TRUE(server.ok()) << server.status().message();
    server_ = std::move(server).value();
  }
  void StartWithLake(ServerOptions options = {}) {
    queries_ = TestQueries(lake_, options.queries_max + 2);
    options.queries_per_client_max = options.queries_max;
    Start(options);
  }
  Client Connect() { return Client(server_->port()); }

  // One more bus at Gate 4.
  void CountOne() {
    const EventTime pane{WindowStart({kNow}, Millis{10'000}).v};
    Segment segment{.first = {next_}, .next = {next_ + 1}};
    segment.counts.push_back({.key = {.pane_start = pane, .location = {7001}, .item = "bus"},
                              .count = 1,
                              .first_detected = {kNow},
                              .last_detected = {kNow}});
    LedgerRow row{.key = {.location = {7001}, .camera = {3}}};
    row.ledger.received = row.ledger.outcomes[static_cast<size_t>(Outcome::kCounted)] = 1;
    segment.ledger.push_back(row);
    segment.watermark = {kNow};
    EXPECT_TRUE(live_.Apply({"test", 0}, {&segment, 1}));
    ++next_;
  }

  ManualClock clock_{kNow};
  FakeLog log_;
  Live live_;
  Hub hub_;
  const std::shared_ptr<TestLakeSource> lake_ = std::make_shared<TestLakeSource>();
  std::vector<Metric> metrics_;
  Health health_;
  Health alive_, ready_;
  std::string live_not_ready_;
  std::function<std::string(const Scope&)> alerts_;
  std::unique_ptr<LocalQueries> queries_;  // null: no lake
  std::unique_ptr<Server> server_;
  int64_t next_ = 0;
};

// -- ingest
// ----------------------------------------------------------------------------------------

TEST_F(ServerTest, AcceptedDetectionsAreInTheLog) {
  Start();
  Client client = Connect();
  const Client::Answer answer = client.Post(Detection(1) + "\nnonsense\n" + Detection(2) + "\n");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body,
            R"({"accepted":2,"rejected":1,"errors":[{"line":2,"reason":"not_an_object"}],)"
            R"("errors_truncated":false})"
            "\n");
  EXPECT_THAT(log_.records(),
              testing::UnorderedElementsAre(Detection(1), Detection(2), "nonsense"));
  // The connection goes on.
  EXPECT_EQ(client.Post("[" + Detection(3) + "]").status, 200);
  EXPECT_EQ(log_.records().size(), 4u);
}

TEST_F(ServerTest, ABodyOfWhichNothingIsAcceptedIs422AndDurable) {
  Start();
  Client client = Connect();
  log_.SetMode(FakeLog::Mode::kFailing);
  EXPECT_EQ(client.Post("{}\n").status, 503);
  log_.SetMode(FakeLog::Mode::kDurable);
  const Client::Answer answer = client.Post("{}\n");
  EXPECT_EQ(answer.status, 422);
  EXPECT_EQ(answer.headers.at("Content-Type"), "application/problem+json");
  EXPECT_THAT(answer.body, HasSubstr("line 1: missing_field geographical_location_oid"));
  EXPECT_THAT(answer.body, HasSubstr(R"("accepted":0,"rejected":1,)"));
  EXPECT_THAT(log_.records(), testing::ElementsAre("{}"));
  EXPECT_EQ(client.Post("[]").status, 200);  // and the connection goes on
  const std::string metrics = client.Get("/metrics").body;
  EXPECT_THAT(metrics, HasSubstr("{route=\"detections\",status=\"422\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("rejected_total{reason=\"missing_field\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("sightline_ingest_duration_seconds_count 2\n"));
}

TEST_F(ServerTest, BodiesWithoutUse) {
  Start();
  Client client = Connect();
  EXPECT_EQ(client.Post("").status, 400);
  EXPECT_EQ(client.Post(" \r\n").status, 400);
  EXPECT_EQ(client.Post("hello", "Content-Encoding: gzip\r\n").status, 400);
  const Client::Answer answer = client.Post("x", "Content-Encoding: br\r\n");
  EXPECT_EQ(answer.status, 415);
  EXPECT_EQ(answer.headers.at("Content-Type"), "application/problem+json");
  EXPECT_EQ(answer.headers.at("Connection"), "close");  // the body was not read
}

TEST_F(ServerTest, XGzipIsGzip) {
  Start();
  Client client = Connect();
  EXPECT_EQ(client.Post("hello", "Content-Encoding: x-gzip\r\n").status, 400);  // and not 415
  EXPECT_EQ(client.Post("hello", "Content-Encoding: X-GZIP\r\n").status, 400);
}

TEST_F(ServerTest, TheLogIsFullOrFails) {
  Start();
  Client client = Connect();
  log_.SetMode(FakeLog::Mode::kFull);
  Client::Answer answer = client.Post(Detection(1));
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(answer.headers.at("Retry-After"), "1");
  log_.SetMode(FakeLog::Mode::kFailing);
  answer = client.Post(Detection(1));
  EXPECT_EQ(answer.status, 503);
  EXPECT_THAT(answer.body, HasSubstr("the disk is full"));
  EXPECT_TRUE(answer.headers.contains("Retry-After"));
  log_.SetMode(FakeLog::Mode::kDurable);
  EXPECT_EQ(client.Post(Detection(1)).status, 200);
}

TEST_F(ServerTest, AnswersOnlyWhenDurableAndServesOthersMeanwhile) {
  Start();
  log_.SetMode(FakeLog::Mode::kHeld);
  Client slow = Connect();
  slow.Request("POST", "/v1/detections", "", Detection(1));
  log_.WaitForHeld(1);
  Client other = Connect();
  EXPECT_THAT(other.Get("/metrics").body, Not(HasSubstr("route=\"detections\"")));
  log_.Release();
  EXPECT_EQ(slow.Read().status, 200);
}

TEST_F(ServerTest, TooLargeIsSeenBeforeItIsRead) {
  Start();
  Client client = Connect();
  client.Send(
      "POST /v1/detections HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n");
  const Client::Answer answer = client.Read();
  EXPECT_EQ(answer.status, 413);
  EXPECT_THAT(answer.body, HasSubstr("server.body_max"));
  EXPECT_EQ(answer.headers.at("Connection"), "close");
  EXPECT_TRUE(client.ReadsEnd());
}

TEST_F(ServerTest, TooLargeInChunks) {
  Start({.body_bytes_max = 1 << 20});
  Client client = Connect();
  client.Send(
      "POST /v1/detections HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "10000\r\n" + std::string(0x10000, ' ') + "\r\n";
  for (int i = 0; i < 1'600 && client.Send(chunk); ++i) {
  }
  EXPECT_EQ(client.Read().status, 413);
  EXPECT_TRUE(client.ReadsEnd());
}

TEST_F(ServerTest, ChunksAndWhatFollowsThem) {
  Start();
  Client client = Connect();
  const std::string line = Detection(1) + "\n";
  std::string request =
      "POST /v1/detections HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const char c : line) request += std::string("1\r\n") + c + "\r\n";
  client.Send(request + "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_THAT(client.Read().body, HasSubstr("\"ok\""));
  EXPECT_THAT(log_.records(), testing::ElementsAre(Detection(1)));
  // Broken chunks end the connection.
  client.Send(
      "POST /v1/detections HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
      "chunked\r\n\r\nzz\r\n");
  EXPECT_EQ(client.Read().status, 400);
  EXPECT_TRUE(client.ReadsEnd());
}

TEST_F(ServerTest, BodiesInWorkShareOneBudget) {
  Start({.ingest_memory_bytes_max = 1'000'000});
  Client first = Connect();
  first.Send("POST /v1/detections HTTP/1.1\r\nHost: localhost\r\nContent-Length: 400000\r\n\r\n");
  Client second = Connect();
  Client::Answer answer;
  for (int tries = 0; tries < 100 && answer.status != 429; ++tries) {
    Client again = Connect();
    answer = again.Post(std::string(150'000, ' '));
  }
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(answer.headers.at("Retry-After"), "1");
  EXPECT_EQ(second.Post(Detection(1)).status, 200);  // a small one still fits
  first.Send(std::string(400'000, ' '));
  EXPECT_EQ(first.Read().status, 400);
  EXPECT_EQ(second.Post(std::string(150'000, ' ') + Detection(1)).status, 200);
  EXPECT_EQ(second.Post(std::string(600'000, ' ')).status, 413);  // it could never be let in
}

TEST_F(ServerTest, ExpectContinue) {
  Start();
  Client client = Connect();
  const std::string body = Detection(1);
  client.Send(
      "POST /v1/detections HTTP/1.1\r\nHost: localhost\r\nExpect: "
      "100-continue\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n");
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send(body);
  EXPECT_EQ(client.Read().status, 200);
}

// -- HTTP
// ------------------------------------------------------------------------------------------

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  Start();
  Client client = Connect();
  const std::string body = Detection(1);
  const std::string post = "POST /v1/detections HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                           std::to_string(body.size()) + "\r\n\r\n" + body;
  const std::string health = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
  client.Send(post + health + post + "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n" + health);
  EXPECT_THAT(client.Read().body, HasSubstr("\"accepted\":1"));
  EXPECT_THAT(client.Read().body, HasSubstr("\"ok\""));
  EXPECT_THAT(client.Read().body, HasSubstr("\"accepted\":1"));
  EXPECT_EQ(client.Read().status, 404);
  EXPECT_THAT(client.Read().body, HasSubstr("\"ok\""));
}

TEST_F(ServerTest, EmptyLinesBehindABodyAreIgnored) {
  Start({.idle_timeout = {300}});
  Client client = Connect();
  const std::string body = Detection(1);
  const std::string post = "POST /v1/detections HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                           std::to_string(body.size()) + "\r\n\r\n" + body;
  client.Send(post + "\r\n" + post + "\r\n\r");
  EXPECT_EQ(client.Read().status, 200);
  EXPECT_EQ(client.Read().status, 200);
  client.Send("\n" + post);
  EXPECT_EQ(client.Read().status, 200);
  // They do not keep a connection that sends nothing else.
  const auto start = steady_clock::now();
  while (client.Send("\r\n") && !client.Hears(milliseconds(20)) &&
         steady_clock::now() - start < std::chrono::seconds(4)) {
  }
  EXPECT_TRUE(client.ReadsEnd());
  EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(4));
}

TEST_F(ServerTest, TargetsThatAreUrls) {
  Start();
  const auto status = [&](const std::string& target, const std::string& host) {
    Client client = Connect();
    client.Send("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    return client.Read().status;
  };
  EXPECT_EQ(status("http://localhost:8080/healthz", "localhost:8080"), 200);
  EXPECT_EQ(status("HTTPS://127.0.0.1/v1/top?window=5m", "localhost"), 200);
  EXPECT_EQ(status("http://localhost/v1/top?windows=5m", "localhost"), 400);
  EXPECT_EQ(status("http://localhost", "localhost"), 200);
  EXPECT_EQ(status("http://localhost?x=1", "localhost"), 200);
  // The URL's host counts, not the header's.
  EXPECT_EQ(status("http://evil.example/healthz", "localhost"), 403);
  EXPECT_EQ(status("http://localhost/healthz", "evil.example"), 200);
  for (const char* target : {"ftp://localhost/healthz", "healthz", "?x=1", "*", "http:/healthz"})
    EXPECT_EQ(status(target, "localhost"), 400) << target;
}

TEST_F(ServerTest, HeadersOfSixteenKiBAndNoMore) {
  Start();
  // `bytes` from the first to the empty line: one long field, or many short ones.
  const auto status = [&](size_t bytes, bool many) {
    std::string head = "GET /livez HTTP/1.1\r\nHost: localhost\r\n";
    while (many && head.size() + 100 < bytes) head += "X: " + std::string(40, 'x') + "\r\n";
    head += "Y: " + std::string(bytes - head.size() - 7, 'y') + "\r\n\r\n";
    EXPECT_EQ(head.size(), bytes);
    Client client = Connect();
    client.Send(head);
    return client.Read().status;
  };
  for (const bool many : {false, true}) {
    EXPECT_EQ(status(16'384, many), 200) << many;
    EXPECT_EQ(status(16'385, many), 431) << many;
    EXPECT_EQ(status(20'000, many), 431) << many;
    EXPECT_EQ(status(60'000, many), 431) << many;
  }
}

TEST_F(ServerTest, MethodsAndPaths) {
  Start();
  Client client = Connect();
  Client::Answer answer = client.Get("/v1/detections");
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.headers.at("Allow"), "POST");
  client.Request("OPTIONS", "/v1/top");
  answer = client.Read();
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.headers.at("Allow"), "GET, HEAD");
  EXPECT_EQ(client.Get("/v1/nothing").status, 404);
  EXPECT_EQ(client.Get("/../../etc/passwd").status, 404);
  client.Request("HEAD", "/v1/ledger");
  answer = client.Read(true);
  EXPECT_EQ(answer.status, 200);
  EXPECT_GT(std::stoi(answer.headers.at("Content-Length")), 10);
  EXPECT_EQ(client.Get("/healthz").status, 200);  // no body came before this one
}

TEST_F(ServerTest, WhatIsNoHttp) {
  Start({.idle_timeout = {200}, .header_timeout = {200}, .body_timeout = {200}});
  Client garbage = Connect();
  garbage.Send("\x16\x03\x01 hello\r\n\r\n");
  EXPECT_EQ(garbage.Read().status, 400);
  Client large = Connect();
  large.Send("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(40'000, 'x') + "\r\n\r\n");
  EXPECT_EQ(large.Read().status, 431);
  // Who does not come to an end is left.
  Client idle = Connect(), slow_head = Connect(), slow_body = Connect();
  slow_head.Send("GET / HTTP/1.1\r\nHo");
  slow_body.Send("POST /v1/detections HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{");
  EXPECT_TRUE(idle.ReadsEnd());
  EXPECT_TRUE(slow_head.ReadsEnd());
  EXPECT_TRUE(slow_body.ReadsEnd());
}

TEST_F(ServerTest, OnlyLocalNamesAndOurOwnPagesMayAsk) {
  Start();
  auto status = [&](std::string_view method, std::string_view headers) {
    Client client = Connect();
    const std::string body = method == "POST" ? Detection(1) : "";
    client.Send(std::string(method) + (method == "POST" ? " /v1/detections" : " /healthz") +
                " HTTP/1.1\r\n" + std::string(headers) +
                "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    return client.Read().status;
  };
  EXPECT_EQ(status("GET", "Host: localhost\r\n"), 200);
  EXPECT_EQ(status("GET", "Host: LOCALHOST:8080\r\n"), 200);
  EXPECT_EQ(status("GET", "Host: 127.0.0.1:1\r\n"), 200);
  EXPECT_EQ(status("GET", "Host: [::1]:80\r\n"), 200);
  EXPECT_EQ(status("GET", "Host: [::1]\r\n"), 200);
  EXPECT_EQ(status("GET", ""), 403);
  EXPECT_EQ(status("GET", "Host: evil.example:8080\r\n"), 403);
  EXPECT_EQ(status("GET", "Host: localhost.evil.example\r\n"), 403);
  EXPECT_EQ(status("GET", "Host: localhost:80@evil.example\r\n"), 403);
  EXPECT_EQ(status("GET", "Host: localhost\r\nHost: evil.example\r\n"), 400);
  EXPECT_EQ(status("POST", "Host: localhost:8080\r\nOrigin: http://localhost:8080\r\n"), 200);
  EXPECT_EQ(status("POST", "Host: localhost\r\nOrigin: http://localhost:80\r\n"), 200);
  EXPECT_EQ(status("POST", "Host: localhost:8080\r\nOrigin: http://localhost:8081\r\n"), 403);
  EXPECT_EQ(status("POST", "Host: localhost:8080\r\nOrigin: http://evil.example\r\n"), 403);
  EXPECT_EQ(status("POST", "Host: localhost:8080\r\nOrigin: null\r\n"), 403);
}

// Every address of 127.0.0.0/8 is this machine, and only this machine.
TEST_F(ServerTest, EveryLoopbackAddressIsAName) {
  Start();
  const auto status = [&](const std::string& host) {
    Client client = Connect();
    client.Send("GET /healthz HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    return client.Read().status;
  };
  for (const char* host : {"127.0.0.2", "127.0.0.2:8080", "127.255.255.254"})
    EXPECT_EQ(status(host), 200) << host;
  for (const char* host : {"127.0.0.1.evil.example", "127.evil.example", "127.0.0.256", "127.0.0",
                           "127.0.0.0.1", "127.0.0.", "127..0.1", "127.0.0.2:x", "128.0.0.1"})
    EXPECT_EQ(status(host), 403) << host;
}

TEST_F(ServerTest, BehindAProxy) {
  ServerOptions options{.allowed_hosts = {"sightline", "10.42.0.7:8080"},
                        .public_origin = "https://Counts.example.org"};
  for (const char* address : {"127.0.0.1", "0.0.0.0"}) {
    options.address = address;
    Start(options);
    const auto status = [&](std::string_view method, const std::string& headers) {
      Client client = Connect();
      const std::string body = method == "POST" ? Detection(1) : "";
      client.Send(std::string(method) + (method == "POST" ? " /v1/detections" : " /healthz") +
                  " HTTP/1.1\r\n" + headers + "\r\nContent-Length: " + std::to_string(body.size()) +
                  "\r\n\r\n" + body);
      return client.Read().status;
    };
    for (const char* host : {"sightline", "SIGHTLINE:80", "10.42.0.7", "10.42.0.7:8080",
                             "counts.example.org", "counts.example.org:443", "localhost:8080"})
      EXPECT_EQ(status("GET", "Host: " + std::string(host)), 200) << host;
    for (const char* host : {"evil.example", "sightline.evil.example", "sightline:80@evil.example",
                             "10.42.0.8", "example.org", ""})
      EXPECT_EQ(status("GET", "Host: " + std::string(host)), 403) << host;
    const std::string host = "Host: sightline\r\nOrigin: ";
    EXPECT_EQ(status("POST", host + "https://counts.example.org"), 200);
    EXPECT_EQ(status("POST", host + "https://counts.example.org:443"), 200);
    for (const char* origin :
         {"http://counts.example.org", "https://counts.example.org:444", "null",
          "https://evil.example", "https://counts.example.org.evil.example"})
      EXPECT_EQ(status("POST", host + origin), 403) << origin;
    server_.reset();
  }
}

TEST_F(ServerTest, PagesOfOtherSites) {
  StartWithLake({.cors_origins = {"https://dashboard.example.org"}});
  Client client = Connect();
  const std::string known = "Origin: https://dashboard.example.org\r\n";
  const std::string unknown = "Origin: https://evil.example\r\n";
  const auto has = [](const Client::Answer& answer) {
    return answer.headers.contains("Access-Control-Allow-Origin");
  };
  client.Request("OPTIONS", "/v1/query",
                 known +
                     "Access-Control-Request-Method: POST\r\n"
                     "Access-Control-Request-Headers: content-type\r\n");
  Client::Answer answer = client.Read();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("Access-Control-Allow-Origin"), "https://dashboard.example.org");
  EXPECT_THAT(answer.headers.at("Access-Control-Allow-Methods"), HasSubstr("POST"));
  EXPECT_THAT(answer.headers.at("Access-Control-Allow-Headers"), HasSubstr("Content-Type"));
  client.Request("OPTIONS", "/v1/query", unknown + "Access-Control-Request-Method: POST\r\n");
  answer = client.Read();
  EXPECT_EQ(answer.status, 405);
  EXPECT_FALSE(has(answer));
  EXPECT_TRUE(has(client.Post(Detection(1), known)));
  EXPECT_TRUE(has(client.Get("/v1/top?window=5", known)));  // a refusal, too, says what is wrong
  answer = client.Get("/v1/top", unknown);
  EXPECT_EQ(answer.status, 200);
  EXPECT_FALSE(has(answer));
  EXPECT_EQ(answer.headers.at("Vary"), "Origin");
  answer = client.Get("/v1/top", "Origin: null\r\n");
  EXPECT_FALSE(has(answer));
  Client viewer = Connect();
  viewer.Request("GET", "/v1/stream", known + "Sec-Fetch-Site: cross-site\r\n");
  EXPECT_TRUE(has(viewer.Read()));
}

TEST_F(ServerTest, WhatCostsMuchIsNotForPagesOfOtherSites) {
  StartWithLake({.cors_origins = {"https://dashboard.example.org"}});
  const std::string cross = "Sec-Fetch-Site: cross-site\r\n";
  const auto status = [&](std::string_view target, const std::string& headers) {
    Client client = Connect();
    return client.Get(target, headers).status;
  };
  for (const char* target : {"/v1/items", "/v1/counts?step=1h", "/v1/top?from=0",
                             "/v1/ledger?group=camera", "/v1/locations?format=csv", "/v1/stream"}) {
    EXPECT_EQ(status(target, cross), 403) << target;
    EXPECT_EQ(status(target, cross + "Origin: https://evil.example\r\n"), 403) << target;
    EXPECT_EQ(status(target, cross + "Origin: https://dashboard.example.org\r\n"), 200) << target;
    for (const char* site : {"same-origin", "same-site", "none"})
      EXPECT_EQ(status(target, "Sec-Fetch-Site: " + std::string(site) + "\r\n"), 200) << target;
  }
  for (const char* target : {"/", "/v1/top", "/healthz"})
    EXPECT_EQ(status(target, cross), 200) << target;
}

TEST_F(ServerTest, TooManyConnections) {
  Start({.connections_max = 2});
  log_.SetMode(FakeLog::Mode::kHeld);
  Client first = Connect(), second = Connect();
  first.Request("POST", "/v1/detections", "", Detection(1));
  second.Request("POST", "/v1/detections", "", Detection(2));
  log_.WaitForHeld(2);
  {
    Client third = Connect();
    const Client::Answer answer = third.Get("/healthz");
    EXPECT_EQ(answer.status, 503);
    EXPECT_THAT(answer.body, HasSubstr("server.connections_max"));
    EXPECT_TRUE(third.ReadsEnd());
  }
  log_.Release();
  EXPECT_EQ(first.Read().status, 200);
  EXPECT_EQ(second.Read().status, 200);
}

// Whoever holds all connections without asking loses them to those who ask, the oldest first.
TEST_F(ServerTest, IdleConnectionsGiveWay) {
  Start({.connections_max = 20});
  std::vector<std::unique_ptr<Client>> idle, others;
  for (int i = 0; i < 20; ++i) idle.push_back(std::make_unique<Client>(server_->port()));
  for (int i = 0; i < 5; ++i) {
    // A request that does not end is not one yet.
    if (i == 3) idle[3]->Send("GET /healthz HTTP/1.1\r\nHo");
    Client& other = *others.emplace_back(std::make_unique<Client>(server_->port(), 0, "127.0.0.2"));
    EXPECT_EQ(other.Get("/healthz").status, 200) << i;
    EXPECT_TRUE(idle[static_cast<size_t>(i)]->ReadsEnd()) << i;
    EXPECT_EQ(other.Get("/healthz").status, 200) << i;  // the client with fewer keeps its place
  }
  EXPECT_EQ(idle.back()->Get("/healthz").status, 200);
  EXPECT_THAT(idle.back()->Get("/metrics").body,
              HasSubstr("sightline_http_connections_evicted_total"));
}

// -- reads
// -----------------------------------------------------------------------------------------

TEST_F(ServerTest, LiveReads) {
  live_.SetLocations({{.location = {7001}, .name = "Gate \"4\""}});
  CountOne();
  Start();
  Client client = Connect();
  EXPECT_THAT(
      client.Get("/v1/top?location=7001&window=1m&limit=5").body,
      HasSubstr(R"("rows":[{"position":1,"rank":1,"item":"bus","count":1,"provisional":1}])"));
  EXPECT_THAT(client.Get("/v1/top?location=7002").body, HasSubstr("\"rows\":[]"));
  EXPECT_THAT(client.Get("/v1/top?at=" + std::to_string(kNow - 60'000)).body,
              HasSubstr("\"rows\":[]"));
  EXPECT_EQ(client.Get("/v1/locations?window=today").body,
            "[{\"oid\":\"7001\",\"name\":\"Gate \\\"4\\\"\",\"total\":1,\"top\":\"bus\"}]\n");
  EXPECT_THAT(client.Get("/v1/ledger").body, HasSubstr("\"received\":1,\"counted\":1"));
}

TEST_F(ServerTest, BadParametersAreNamed) {
  Start();
  Client client = Connect();
  for (const auto& [target, name] : std::vector<std::pair<std::string, std::string>>{
           {"/v1/top?window=5x", "window"},
           {"/v1/top?window=7s", "window"},
           {"/v1/top?window=25h", "window"},
           {"/v1/top?window=", "window"},
           {"/v1/stream?window=0m", "window"},
           {"/v1/top?limit=0", "limit"},
           {"/v1/top?limit=1001", "limit"},
           {"/v1/top?limit=9999999999999999999999", "limit"},
           {"/v1/top?limit=5&limit=6", "limit"},
           {"/v1/stream?location=Gate%204", "location"},
           {"/v1/top?location", "location"},
           {"/v1/top?at=yesterday", "at"},
           {"/v1/locations?limit=5", "limit"},
       }) {
    const Client::Answer answer = client.Get(target);
    EXPECT_EQ(answer.status, 400) << target;
    EXPECT_THAT(answer.body, HasSubstr("parameter \\\"" + name + "\\\"")) << target;
    EXPECT_THAT(answer.body, HasSubstr(": ")) << target;
  }
}

TEST_F(ServerTest, HealthAndMetrics) {
  Start();
  Client client = Connect();
  health_ = {.ok = true, .reasons = {"horizon not loaded"}};
  EXPECT_EQ(client.Get("/healthz").body,
            "{\"status\":\"degraded\",\"reasons\":[\"horizon not loaded\"],\"boot\":\"" +
                hub_.boot() + "\"}\n");
  health_ = {.ok = false, .reasons = {"a \"b\""}};
  const Client::Answer answer = client.Get("/healthz");
  EXPECT_EQ(answer.status, 503);
  EXPECT_THAT(answer.body, HasSubstr(R"(["a \"b\""])"));
  client.Post(Detection(1) + "\n{}\n");
  metrics_ = {{.name = "sightline_x_total", .help = "x", .labels = {{"p", "0"}}, .value = 1},
              {.name = "sightline_y", .help = "y", .type = Metric::Type::kGauge, .value = 2.5},
              {.name = "sightline_x_total", .help = "x", .labels = {{"p", "1"}}, .value = 3}};
  const std::string text = client.Get("/metrics").body;
  for (const std::string_view line :
       {"sightline_http_requests_total{route=\"detections\",status=\"200\"} 1\n",
        "sightline_http_requests_total{route=\"healthz\",status=\"503\"} 1\n",
        "sightline_ingest_accepted_total 1\n",
        "sightline_ingest_rejected_total{reason=\"missing_field\"} 1\n",
        "sightline_ingest_duration_seconds_count 1\n", "sightline_http_connections 1\n",
        "# TYPE sightline_x_total counter\nsightline_x_total{p=\"0\"} "
        "1\nsightline_x_total{p=\"1\"} 3\n",
        "sightline_y 2.5\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST_F(ServerTest, ThePageFromADirectory) {
  std::string directory = testing::TempDir() + "/web_XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  std::ofstream(directory + "/index.html") << "<!doctype html>";
  std::ofstream(directory + "/app.js") << "1";
  std::ofstream(directory + "/.secret") << "1";
  std::filesystem::create_directory(directory + "/folder");
  Start({.web_dir = directory});
  Client client = Connect();
  const Client::Answer page = client.Get("/?window=5m");
  EXPECT_EQ(page.body, "<!doctype html>");
  EXPECT_EQ(page.headers.at("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(page.headers.at("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(page.headers.at("Referrer-Policy"), "no-referrer");
  EXPECT_EQ(page.headers.at("Content-Security-Policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
  const Client::Answer same = client.Get("/", "If-None-Match: " + page.headers.at("ETag") + "\r\n");
  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(client.Get("/app.js").headers.at("Content-Type"), "text/javascript; charset=utf-8");
  for (const std::string_view path : {"/.secret", "/folder", "/folder/../app.js", "/%2e%2e/app.js",
                                      "/../"
                                      "app.js",
                                      "//app.js", "/nothing.js"}) {
    EXPECT_EQ(client.Get(path).status, 404) << path;
  }
  std::filesystem::remove_all(directory);
}

TEST_F(ServerTest, TheBuiltInPage) {
  Start();
  Client client = Connect();
  const Client::Answer page = client.Get("/");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.body, HasSubstr("<!doctype html>"));
  EXPECT_EQ(client.Get("/index.html").body, page.body);
}

// -- streams
// ---------------------------------------------------------------------------------------

std::string IdOf(const std::string& event) {
  return event.substr(4, event.find('\n') - 4);  // "id: ..."
}

TEST_F(ServerTest, AStreamBringsASnapshotThenChangesAndResumes) {
  CountOne();
  Start();
  std::string snapshot_id;
  {
    Client client = Connect();
    client.Request("GET", "/v1/stream?window=5m&location=7001");
    const Client::Answer head = client.Read();
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.headers.at("Content-Type"), "text/event-stream");
    const std::string snapshot = client.ReadEvent("snapshot");
    snapshot_id = IdOf(snapshot);
    EXPECT_THAT(snapshot, HasSubstr("\"total\":1"));
    CountOne();
    EXPECT_THAT(client.ReadEvent("change"), HasSubstr("\"total\":2"));
    EXPECT_THAT(client.ReadEvent("heartbeat"), HasSubstr("\"now\""));
    EXPECT_EQ(hub_.viewers(), 1);
  }
  Client again = Connect();
  again.Request("GET", "/v1/stream?window=5m&location=7001",
                "Last-Event-ID: " + snapshot_id + "\r\n");
  EXPECT_EQ(again.Read().status, 200);
  const std::string missed = again.ReadUntil("\n\n");
  EXPECT_THAT(missed, HasSubstr("event: change\n"));
  EXPECT_THAT(missed, HasSubstr("\"total\":2"));
}

TEST_F(ServerTest, ALeavingViewerIsNoticedAtOnce) {
  Start();
  {
    Client client = Connect();
    client.Request("GET", "/v1/stream");
    client.ReadEvent("snapshot");
    EXPECT_EQ(hub_.viewers(), 1);
  }
  for (int i = 0; i < 500 && hub_.viewers() > 0; ++i) std::this_thread::sleep_for(milliseconds(2));
  EXPECT_EQ(hub_.viewers(), 0);
}

TEST_F(ServerTest, AStalledViewerIsDropped) {
  // A snapshot larger than all buffers between us.
  std::vector<Location> locations;
  for (int64_t i = 0; i < 40'000; ++i)
    locations.push_back({.location = {i}, .name = std::string(300, 'x') + std::to_string(i)});
  live_.SetLocations(locations);
  Start({.stall_timeout = {300}});
  Client client(server_->port(), 4'096);
  client.Request("GET", "/v1/stream");
  for (int i = 0; i < 20'000 && hub_.viewers() == 0; ++i)
    std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(hub_.viewers(), 1);
  for (int i = 0; i < 20'000 && hub_.viewers() > 0; ++i)
    std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(hub_.viewers(), 0);
  Client other = Connect();
  EXPECT_THAT(other.Get("/metrics").body, HasSubstr("sightline_stream_stalled_total 1\n"));
}

// -- what the lake answers
// -----------------------------------------------------------------------------------------

constexpr std::string_view kNoEnd =
    R"({"sql":"SELECT sum(a.range * b.range) FROM range(10000000) a, range(1000000) b"})";

TEST_F(ServerTest, WithoutALake) {
  Start();
  Client client = Connect();
  for (const std::string_view target : {"/v1/counts", "/v1/items", "/v1/top?from=1",
                                        "/v1/locations?format=csv", "/v1/ledger?group=none"}) {
    const Client::Answer answer = client.Get(target);
    EXPECT_EQ(answer.status, 404) << target;
    EXPECT_THAT(answer.body, HasSubstr("lake.enabled"));
  }
  EXPECT_EQ(client.Get("/v1/top").status, 200);
  EXPECT_EQ(client.Get("/v1/ledger").status, 200);
  client.Request("POST", "/v1/query", "", R"({"sql":"SELECT 1"})");
  EXPECT_EQ(client.Read().status, 404);
}

TEST_F(ServerTest, TheLakeAnswers) {
  StartWithLake();
  Client client = Connect();
  const Client::Answer top = client.Get("/v1/top?from=2026-01-01T00:00:00Z&format=csv");
  EXPECT_EQ(top.status, 400);  // the server's clock is in 2025
  for (const std::string_view target :
       {"/v1/top?from=0&limit=1", "/v1/items?from=0", "/v1/locations?from=0",
        "/v1/ledger?group=hour", "/v1/counts?from=0&to=2026-01-02T00:00:00Z&step=24h"}) {
    const Client::Answer answer = client.Get(target);
    EXPECT_EQ(answer.status, 200) << target << answer.body;
    EXPECT_EQ(answer.headers.at("Content-Type"), "application/json");
  }
  client.Request("HEAD", "/v1/items?from=0&to=2027-01-01T00:00:00Z");
  const Client::Answer head = client.Read(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_GT(std::stoi(head.headers.at("Content-Length")), 10);
  EXPECT_EQ(client.Get("/v1/ledger?windo%77=5m").status, 400);
}

TEST_F(ServerTest, QueriesThroughASocket) {
  StartWithLake();
  Client client = Connect();
  auto ask = [&](std::string_view body, std::string_view headers = {}) {
    client.Request("POST", "/v1/query", headers, body);
    return client.Read();
  };
  // One connection, whatever was wrong before.
  EXPECT_EQ(ask(R"({"sql":"SELECT 1 AS a"})").body, "[\n{\"a\":1}\n]\n");
  EXPECT_EQ(ask("nonsense").status, 400);
  EXPECT_EQ(ask("").status, 400);
  EXPECT_EQ(ask(R"({"sql":"SELECT 1; SELECT 2"})").status, 400);
  const Client::Answer cut = ask(R"({"sql":"FROM range(5) ","limit":2,"format":"csv"})");
  EXPECT_EQ(cut.body, "range\r\n0\r\n1\r\n");
  EXPECT_EQ(cut.headers.at("X-Truncated"), "true");
  EXPECT_EQ(cut.headers.at("Content-Type"), "text/csv; charset=utf-8; header=present");
  const Client::Answer whole = ask(R"({"sql":"FROM range(5) "})", "Expect: nothing\r\n");
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.headers.count("X-Truncated"), 0u);
  EXPECT_EQ(whole.headers.at("Connection"), "keep-alive");

  const Client::Answer get = client.Get("/v1/query");
  EXPECT_EQ(get.status, 405);
  EXPECT_EQ(get.headers.at("Allow"), "POST");
  // Two at once on one connection are answered in order.
  client.Request("POST", "/v1/query", "", R"({"sql":"SELECT 1 AS a"})");
  client.Request("POST", "/v1/query", "", R"({"sql":"SELECT 2 AS a"})");
  EXPECT_EQ(client.Read().body, "[\n{\"a\":1}\n]\n");
  EXPECT_EQ(client.Read().body, "[\n{\"a\":2}\n]\n");
}

TEST_F(ServerTest, QueriesAsTheyMustNotCome) {
  StartWithLake({.body_timeout = {200}});
  auto status = [&](const std::string& headers, std::string_view body = {}) {
    Client client = Connect();
    client.Send("POST /v1/query HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n" +
                std::string(body));
    return client.Read().status;
  };
  constexpr std::string_view kBody = R"({"sql":"SELECT 1"})";  // 18 bytes
  EXPECT_EQ(status("Content-Length: 18\r\n", kBody), 200);
  EXPECT_EQ(status(""), 411);
  EXPECT_EQ(
      status("Transfer-Encoding: chunked\r\n", "12\r\n" + std::string(kBody) + "\r\n0\r\n\r\n"),
      411);
  EXPECT_EQ(status("Content-Length: 262145\r\n"), 413);
  EXPECT_EQ(status("Content-Length: 18446744073709551615\r\n"), 413);
  EXPECT_EQ(status("Content-Encoding: gzip\r\nContent-Length: 18\r\n", kBody), 415);
  EXPECT_EQ(status("Content-Length: 100\r\n", kBody), 0);  // the rest never comes: cut off
  EXPECT_EQ(status("Origin: http://evil.example\r\nContent-Length: 18\r\n", kBody), 403);
  EXPECT_EQ(status("Origin: null\r\nContent-Length: 18\r\n", kBody), 403);
  EXPECT_EQ(status("Origin: http://localhost\r\nContent-Length: 18\r\n", kBody), 200);
  const std::string longest = R"({"sql":"SELECT 1)" + std::string(262'144 - 18, ' ') + "\"}";
  EXPECT_EQ(status("Content-Length: 262144\r\n", longest), 400);  // longer than SQL may be
  Client asks_first = Connect();
  asks_first.Send(
      "POST /v1/query HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
      "Content-Length: 18\r\n\r\n");
  EXPECT_EQ(asks_first.Read().status, 100);
  asks_first.Send(kBody);
  EXPECT_EQ(asks_first.Read().status, 200);
  {
    Client gone = Connect();
    gone.Send("POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{");
  }
  EXPECT_EQ(Connect().Get("/healthz").status, 200);
}

TEST_F(ServerTest, QueriesAreManyAtATimeAndNeverTooMany) {
  StartWithLake({.threads = 2, .queries_max = 2, .queries_waiting_max = 3});
  auto ask = [&] {
    auto client = std::make_unique<Client>(server_->port());
    client->Request("POST", "/v1/query", "", kNoEnd);
    return client;
  };
  // Two run and three wait. One that comes before the threads have taken theirs is refused and
  // comes again.
  std::vector<std::unique_ptr<Client>> taken;
  while (taken.size() < 5) {
    auto client = ask();
    if (!client->Hears(milliseconds(500))) taken.push_back(std::move(client));
  }
  // All others are refused; what is not of the lake goes on.
  for (int i = 0; i < 7; ++i) {
    const Client::Answer answer = ask()->Read();
    EXPECT_EQ(answer.status, 429) << i;
    EXPECT_EQ(answer.headers.at("Retry-After"), "1");
    EXPECT_EQ(answer.headers.at("Connection"), "keep-alive");
  }
  Client other = Connect();
  // The fixed questions do not wait for SQL.
  EXPECT_EQ(other.Get("/v1/items").status, 200);
  EXPECT_EQ(other.Get("/v1/top").status, 200);
  EXPECT_EQ(other.Get("/healthz").status, 200);
  queries_->Interrupt();
  for (const auto& client : taken) EXPECT_EQ(client->Read().status, 503);
}

TEST_F(ServerTest, WhatIsAbandonedEndsAndLeavesItsPlace) {
  constexpr const char* kOne = R"({"sql":"SELECT 1"})";
  StartWithLake({.threads = 2, .queries_max = 2, .queries_waiting_max = 3});
  {
    std::vector<std::unique_ptr<Client>> gone;
    while (gone.size() < 5) {  // two run, three wait
      auto client = std::make_unique<Client>(server_->port());
      client->Request("POST", "/v1/query", "", kNoEnd);
      if (!client->Hears(milliseconds(200))) gone.push_back(std::move(client));
    }
    Client refused = Connect();
    refused.Request("POST", "/v1/query", "", kOne);
    EXPECT_EQ(refused.Read().status, 429);
  }
  Client client = Connect();
  const auto start = steady_clock::now();
  // Until the server has heard of it.
  int status = 429;
  while (status == 429 && steady_clock::now() - start < std::chrono::seconds(2)) {
    client.Request("POST", "/v1/query", "", kOne);
    status = client.Read().status;
  }
  EXPECT_EQ(status, 200);
  EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(2));
  EXPECT_THAT(client.Get("/metrics").body, HasSubstr("sightline_query_abandoned_total 5\n"));
}

TEST_F(ServerTest, WhoAsksMoreMeanwhileIsAnsweredInOrder) {
  StartWithLake({.queries_max = 1});
  Client busy = Connect(), client = Connect();
  busy.Request("POST", "/v1/query", "", kNoEnd);
  EXPECT_FALSE(busy.Hears(milliseconds(100)));
  // While the first waits, the others come: in pieces, and more than is read ahead.
  client.Request("POST", "/v1/query", "", R"({"sql":"SELECT 1 AS a"})");
  std::this_thread::sleep_for(milliseconds(50));
  constexpr int kMore = 40;
  for (int i = 2; i < kMore; ++i) {
    const std::string sql =
        R"({"sql":"SELECT )" + std::to_string(i) + std::string(1'000, ' ') + R"(AS a"})";
    const std::string request = "POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                                std::to_string(sql.size()) + "\r\n\r\n" + sql;
    client.Send(request.substr(0, 30));
    if (i < 10) std::this_thread::sleep_for(milliseconds(2));
    client.Send(request.substr(30));
  }
  EXPECT_FALSE(client.Hears(milliseconds(100)));
  queries_->Interrupt();
  EXPECT_EQ(busy.Read().status, 503);
  for (int i = 1; i < kMore; ++i) EXPECT_EQ(client.Read().status, 503) << i;
}

TEST_F(ServerTest, AnswersHaveABoundTogether) {
  StartWithLake(
      {.queries_max = 1, .answer_memory_bytes_max = 16 << 20, .answer_disk_bytes_max = 32 << 20});
  const auto rows_of_a_kilobyte = [](int rows) {
    return R"({"sql":"SELECT i || ')" + std::string(1'000, 'x') + R"(' FROM range()" +
           std::to_string(rows) + R"~() t(i)","format":"csv"})~";
  };
  const std::string large = rows_of_a_kilobyte(6'000);
  // One that takes nothing of its answer.
  Client slow(server_->port(), 4'096);
  slow.Request("POST", "/v1/query", "", rows_of_a_kilobyte(9'000));
  ASSERT_TRUE(slow.Hears(std::chrono::seconds(30)));
  Client client = Connect();
  auto held = [&] {
    const std::string text = client.Get("/metrics").body;
    const std::string name = "\nsightline_query_answer_disk_bytes ";
    return std::stod(text.substr(text.find(name) + name.size()));
  };
  EXPECT_GE(held(), 7 << 20);
  EXPECT_LE(held(), 32 << 20);
  std::vector<std::unique_ptr<Client>> more;
  int refused = 0;
  for (int i = 0; i < 8; ++i) {
    more.push_back(std::make_unique<Client>(server_->port(), 4'096));
    more.back()->Request("POST", "/v1/query", "", large);
    ASSERT_TRUE(more.back()->Hears(std::chrono::seconds(30)));
    EXPECT_LE(held(), 32 << 20);
  }
  for (const auto& each : more) {
    const Client::Answer answer = each->Read();
    if (answer.status != 503) continue;
    EXPECT_EQ(answer.headers.at("Retry-After"), "1");
    ++refused;
  }
  EXPECT_GE(refused, 3);
  EXPECT_EQ(slow.Read().status, 200);
  client.Request("POST", "/v1/query", "", large);
  EXPECT_EQ(client.Read().status, 200);
}

TEST_F(ServerTest, SeveralClientsAskAtOnce) {
  StartWithLake({.threads = 2, .queries_max = 2, .queries_waiting_max = 100});
  std::vector<std::thread> askers;
  std::atomic<int> right = 0;
  for (int i = 0; i < 8; ++i) {
    askers.emplace_back([&, i] {
      Client client(server_->port());
      for (int k = 0; k < 10; ++k) {
        const std::string n = std::to_string(i * 100 + k);
        client.Request("POST", "/v1/query", "", R"({"sql":"SELECT )" + n + R"( AS n"})");
        right += client.Read().body == "[\n{\"n\":" + n + "}\n]\n";
      }
    });
  }
  for (std::thread& asker : askers) asker.join();
  EXPECT_EQ(right, 80);
}

TEST_F(ServerTest, StopEndsQueriesWithinItsGrace) {
  StartWithLake({.queries_max = 1});
  Client running = Connect(), waiting = Connect();
  for (Client* const client : {&running, &waiting})
    client->Request("POST", "/v1/query", "", kNoEnd);
  std::this_thread::sleep_for(milliseconds(100));
  const auto start = steady_clock::now();
  server_->Stop({300});
  EXPECT_LT(steady_clock::now() - start, milliseconds(1'500));
  for (Client* const client : {&running, &waiting})
    EXPECT_THAT(client->Read().status, testing::AnyOf(0, 400, 503));
  server_.reset();
}

// -- stop
// ------------------------------------------------------------------------------------------

TEST_F(ServerTest, StopEndsStreamsAndIdleConnectionsAtOnceAndFinishesRequests) {
  Start({.threads = 2});
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<Client>(server_->port()));
    if (i % 2 == 0) clients.back()->Request("GET", "/v1/stream");
    if (i % 2 == 0) clients.back()->ReadEvent("snapshot");
  }
  log_.SetMode(FakeLog::Mode::kHeld);
  Client working = Connect();
  working.Request("POST", "/v1/detections", "", Detection(1));
  log_.WaitForHeld(1);
  std::thread release([&] {
    for (auto& client : clients) EXPECT_TRUE(client->ReadsEnd());
    log_.Release();
  });
  const auto start = steady_clock::now();
  server_->Stop({4'000});
  EXPECT_LT(steady_clock::now() - start, milliseconds(2'000));
  release.join();
  const Client::Answer answer = working.Read();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers.at("Connection"), "close");
  EXPECT_EQ(hub_.viewers(), 0);
}

TEST_F(ServerTest, StopDoesNotWaitLongerThanItsGrace) {
  Start();
  log_.SetMode(FakeLog::Mode::kHeld);
  Client working = Connect();
  working.Request("POST", "/v1/detections", "", Detection(1));
  log_.WaitForHeld(1);
  const auto start = steady_clock::now();
  server_->Stop({100});
  EXPECT_LT(steady_clock::now() - start, milliseconds(1'000));
  server_.reset();
  log_.Release();  // too late, and harmless
  EXPECT_TRUE(working.ReadsEnd());
}

TEST_F(ServerTest, WhatLiveDoesNotKnowYetIsRefused) {
  live_not_ready_ = "the past is still being read";
  Start();
  Client client = Connect();
  EXPECT_EQ(client.Post(Detection(1)).status, 200);
  for (const char* path : {"/v1/top", "/v1/locations", "/v1/ledger", "/v1/stream"}) {
    const Client::Answer answer = client.Get(path);
    EXPECT_EQ(answer.status, 503) << path;
    EXPECT_EQ(answer.headers.at("Retry-After"), "1") << path;
    EXPECT_THAT(answer.body, HasSubstr(live_not_ready_)) << path;
  }
  EXPECT_EQ(client.Get("/v1/top?window=1x").status, 400);
  EXPECT_EQ(client.Get("/v1/alerts").status, 200);
  live_not_ready_.clear();
  EXPECT_EQ(client.Get("/v1/ledger").status, 200);
}

TEST_F(ServerTest, ProbesAndAlerts) {
  alerts_ = [](const Scope& scope) {
    return scope.Sees(LocationId{7}) ? std::string(R"({"version":4,"alerts":[{}]})") : "";
  };
  ready_ = {.ok = false, .reasons = {"partition 3 does not run"}};
  Start();
  Client client = Connect();
  EXPECT_EQ(client.Get("/livez").status, 200);
  Client::Answer answer = client.Get("/readyz");
  EXPECT_EQ(answer.status, 503);
  EXPECT_THAT(answer.body,
              HasSubstr(R"("status":"not ready","reasons":["partition 3 does not run"])"));
  EXPECT_EQ(client.Get("/healthz").status, 200);  // what the process says of each is its own
  answer = client.Get("/v1/alerts");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "{\"version\":4,\"alerts\":[{}]}\n");
  EXPECT_EQ(client.Get("/v1/alerts?limit=1").status, 400);
  client.Request("POST", "/v1/alerts");
  EXPECT_EQ(client.Read().status, 405);
}

TEST_F(ServerTest, AnAddressInUse) {
  Start();
  const Result<std::unique_ptr<Server>> second =
      Server::Start({.port = server_->port()}, PipelineSpec{},
                    {.log = &log_, .live = &live_, .hub = &hub_, .clock = &clock_});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), StatusCode::kStop);
  EXPECT_THAT(second.status().message(), HasSubstr("in use"));
  EXPECT_THAT(second.status().message(), HasSubstr("choose another address or port (listen)"));
}

}  // namespace
}  // namespace sightline
