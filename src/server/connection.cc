#include "server/connection.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/buffers_suffix.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <chrono>
#include <cstring>
#include <optional>
#include <stop_token>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "server/api.h"
#include "server/routes.h"
#include "server/views.h"
#include "server/wakeup.h"

namespace sightline {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr uint32_t kHeaderBytesMax = 16 * 1024;
constexpr size_t kReadBytes = 4 * 1024;          // per read, while only headers are expected
constexpr size_t kSpoolReadBytes = 256 * 1024;   // per write, of an answer of the lake
constexpr size_t kChunkedReadBytes = 64 * 1024;  // per read, of a body without a length
constexpr size_t kIngestStepBytes = 256 * 1024;  // decoded before other connections get their turn
constexpr int64_t kLingerBytesMax = 4 << 20;     // of an unread body; see Linger()
constexpr auto kLinger = std::chrono::seconds(2);
constexpr int kSecondsUntilDurable = 5;

using Parser = http::request_parser<http::buffer_body>;

std::string_view ToStd(beast::string_view text) { return {text.data(), text.size()}; }

Request ToRequest(const Parser& parser) {
  const auto& message = parser.get();
  Request request{.method = ToStd(message.method_string()),
                  .host = ToStd(message[http::field::host])};
  SetTarget(ToStd(message.target()), &request);
  request.origin = ToStd(message[http::field::origin]);
  request.fetch_site = ToStd(message["Sec-Fetch-Site"]);
  request.request_method = ToStd(message[http::field::access_control_request_method]);
  request.content_encoding = ToStd(message[http::field::content_encoding]);
  request.transfer_encoding = ToStd(message[http::field::transfer_encoding]);
  request.if_none_match = ToStd(message[http::field::if_none_match]);
  request.last_event_id = ToStd(message["Last-Event-ID"]);
  request.several_hosts = message.count(http::field::host) > 1;
  request.has_body = parser.chunked() || parser.content_length().value_or(0) > 0 ||
                     !request.transfer_encoding.empty();
  return request;
}

std::optional<Body::Encoding> EncodingOf(std::string_view header) {
  if (header.empty() || beast::iequals(header, "identity")) return Body::Encoding::kPlain;
  // RFC 9110, section 8.4.1.3: x-gzip is another name of gzip.
  if (beast::iequals(header, "gzip") || beast::iequals(header, "x-gzip"))
    return Body::Encoding::kGzip;
  return std::nullopt;
}

// The address of the other side; empty if it has left already.
std::string ClientOf(const tcp::socket& socket) {
  error_code unknown;
  const auto peer = socket.remote_endpoint(unknown);
  return unknown ? "" : peer.address().to_string();
}

// Whether the client sent something that is not HTTP, rather than nothing or half a request.
bool IsBadHttp(error_code error) {
  return error.category() == http::make_error_code(http::error::bad_method).category() &&
         error != http::error::end_of_stream && error != http::error::partial_message;
}

Response ExplainBadHttp(error_code error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return Problem(431, fmt::format("the request's headers are larger than {} bytes: send fewer "
                                    "cookies or parameters",
                                    kHeaderBytesMax));
  }
  return Problem(400, fmt::format("the request is not valid HTTP/1.1: {}", error.message()));
}

Response TooManyConnections() {
  Response response = TryAgain(503, kRetryAfterSeconds,
                               "too many connections are open (server.connections_max): try again");
  response.close = true;
  return response;
}

Response Explain(Body::Outcome outcome, int64_t body_bytes_max) {
  switch (outcome) {
    case Body::Outcome::kTooLarge:
      return Problem(413, fmt::format("the decompressed body is larger than server.body_max, which "
                                      "is {} bytes: send it in smaller parts",
                                      body_bytes_max));
    case Body::Outcome::kNoMemory:
      return TryAgain(429, kRetryAfterSeconds,
                      "the bodies in progress use up server.memory_max: send the same again");
    case Body::Outcome::kBroken:
      return Problem(400,
                     "the body is not valid gzip, or it is cut off; nothing of it was accepted: "
                     "send it again as a whole");
    case Body::Outcome::kOk:
      break;
  }
  CHECK(false);
  return {};
}

class HttpConnection final : public Connection,
                             public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(tcp::socket socket, Worker* worker, bool refused)
      : worker_(*worker),
        context_(*worker->context),
        refused_(refused),
        client_(ClientOf(socket)),
        stream_(std::move(socket)),
        buffer_(kHeaderBytesMax + kChunkedReadBytes),
        wakeup_(stream_.get_executor()),
        answered_(stream_.get_executor()) {
    worker_.connections.insert(this);
  }
  ~HttpConnection() override;

  asio::awaitable<void> Run();
  void BeginShutdown() override;
  bool CloseIfWaiting(int64_t ticket) override;
  void CloseWakeups() override {
    wakeup_.Close();
    answered_.Close();
  }

 private:
  // What the connection does; decides how BeginShutdown() ends it.
  enum class Phase : uint8_t { kIdle, kServing, kStreaming, kLingering };
  // How reading a body ended. `cut`: the client closed, was too slow, or broke the protocol.
  struct BodyRead {
    Body::Outcome outcome = Body::Outcome::kOk;
    error_code cut;
  };

  void BeginWait();
  void EndWait();
  bool StartsRequest();
  asio::awaitable<bool> HasRequest();
  asio::awaitable<bool> ServeOne();
  asio::awaitable<bool> Send(Response response, Route route, bool head_only);
  asio::awaitable<void> Linger();

  asio::awaitable<Response> TakeDetections(const Request& request);
  asio::awaitable<void> Continue();
  asio::awaitable<BodyRead> ReadBody(Body& body, uint64_t bytes);
  asio::awaitable<BodyRead> ReadChunkedBody(Body& body);
  asio::awaitable<Ingested> Decode(std::string_view text);
  asio::awaitable<Response> MakeDurable(Ingested ingested);

  asio::awaitable<Response> QueryLake(const Request& request, Route route);
  asio::awaitable<void> WatchQueryClient();
  asio::awaitable<Response> ReadQuery(const Request& request, std::string& text);

  asio::awaitable<bool> Stream(const Request& request, bool head_only);
  asio::awaitable<void> StreamTo(Hub::Viewer& viewer);
  asio::awaitable<bool> Write(std::vector<SseMessage> messages);
  asio::awaitable<bool> WriteAll(std::vector<asio::const_buffer> buffers);
  asio::awaitable<bool> SendSpool(const Spool& spool);
  asio::awaitable<void> WatchPeer();

  Response Answer(const Request& request, Route route);
  std::string LiveNotReady() const;
  Response AnswerHealth(const std::function<Health()>& ask, std::string_view otherwise) const;
  Response AnswerAlerts(const Request& request) const;
  Response AnswerMetrics() const;

  Worker& worker_;
  ServerContext& context_;
  const bool refused_;
  const std::string client_;  // its address
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;     // read but not consumed: may hold a part of the next request
  std::optional<Parser> parser_;  // of the current request
  Wakeup wakeup_;                 // fired by the log (kServing) or the hub (kStreaming)
  Wakeup answered_;               // fired by the lake's answer, or at the end of WatchQueryClient()
  Phase phase_ = Phase::kIdle;
  std::string cors_;            // header lines of the current answer
  bool leaving_ = false;        // closed to make room; counted in context_.leaving
  int64_t wait_ticket_ = 0;     // of context_.waiting; 0: it does not wait for a request
  bool body_unread_ = false;    // of the current request: then the connection cannot be used again
  bool peer_gone_ = false;      // the client left, during a stream or a query of the lake
  bool watching_ = false;       // WatchQueryClient() runs
  bool stop_watching_ = false;  // WatchQueryClient() must end
};

HttpConnection::~HttpConnection() {
  EndWait();
  worker_.connections.erase(this);
  if (leaving_) --context_.leaving;
  const std::lock_guard lock(context_.closed_mutex);
  if (--context_.metrics.connections == 0) context_.closed.notify_all();
}

void HttpConnection::BeginShutdown() {
  if (phase_ == Phase::kServing) return;  // Send() sees `stopping` and closes after the answer
  stream_.close();                        // fails the pending read or write
  wakeup_.Fire();                         // ends StreamTo(), which may wait for the hub
}

// Until the headers of the next request are there, a full server may close the connection.
void HttpConnection::BeginWait() {
  if (refused_) return;  // it has no place that another could take
  wait_ticket_ = context_.waiting.Add(client_, weak_from_this(), &worker_);
}

void HttpConnection::EndWait() {
  if (wait_ticket_ != 0) context_.waiting.Remove(client_, std::exchange(wait_ticket_, 0));
}

bool HttpConnection::CloseIfWaiting(int64_t ticket) {
  if (wait_ticket_ != ticket) return false;
  leaving_ = true;
  stream_.close();  // fails the pending read
  return true;
}

// Here and everywhere below, the result of a co_await goes into a variable before it is tested:
// when it stands in a condition, g++ 12 stores it over the start of the coroutine's frame and
// destroys `this`.
asio::awaitable<void> HttpConnection::Run() {
  for (;;) {
    BeginWait();
    const bool has_request = co_await HasRequest();
    if (!has_request) co_return;
    phase_ = Phase::kServing;
    const bool again = co_await ServeOne();
    if (!again) co_return;
    phase_ = Phase::kIdle;
  }
}

// Whether the first byte of a request is in the buffer. Drops the empty lines before it, which some
// senders write behind a body (RFC 9112, section 2.2).
bool HttpConnection::StartsRequest() {
  for (;;) {
    const std::string_view text(static_cast<const char*>(buffer_.data().data()), buffer_.size());
    if (!text.starts_with("\r\n")) return !text.empty() && text != "\r";
    buffer_.consume(2);
  }
}

// Waits for the first byte of the next request; a pipelined one is in the buffer already.
asio::awaitable<bool> HttpConnection::HasRequest() {
  if (context_.stopping) co_return false;
  if (StartsRequest()) co_return true;
  // An idle connection must not hold much memory, because there may be thousands.
  parser_.reset();
  if (buffer_.capacity() > kReadBytes) buffer_.shrink_to_fit();
  // One time limit, so that empty lines do not keep a connection.
  stream_.expires_after(milliseconds(context_.options.idle_timeout.v));
  while (!StartsRequest()) {
    auto [error, bytes] =
        co_await stream_.async_read_some(buffer_.prepare(kReadBytes), kAwaitToken);
    buffer_.commit(bytes);
    if (error) co_return false;
  }
  co_return true;
}

asio::awaitable<bool> HttpConnection::ServeOne() {
  parser_.emplace();
  parser_->header_limit(kHeaderBytesMax);
  parser_->body_limit(boost::none);  // Body enforces body_bytes_max
  body_unread_ = true;               // until the headers say otherwise
  cors_.clear();
  stream_.expires_after(milliseconds(context_.options.header_timeout.v));
  auto [error, bytes] = co_await http::async_read_header(stream_, buffer_, *parser_, kAwaitToken);
  EndWait();
  // The parser's own limit is rough: it lets many short fields pass.
  if (!error && bytes > kHeaderBytesMax) error = http::error::header_limit;
  Route route = Route::kOther;
  bool head_only = false;
  Response response;
  if (error) {
    if (!IsBadHttp(error)) co_return false;  // the client closed, or was too slow
    response = ExplainBadHttp(error);
  } else {
    const Request request = ToRequest(*parser_);
    route = RouteOf(request.path);
    head_only = request.method == "HEAD";
    cors_ = CorsHeaders(request, context_.options);
    body_unread_ = request.has_body;
    // A refusal does not read the body; Send() then closes the connection.
    std::optional<Response> refusal =
        refused_ ? TooManyConnections()
                 : Refuse(request, route, context_.options, context_.loopback);
    if (refusal) {
      response = std::move(*refusal);
    } else if (route == Route::kDetections) {
      response = co_await TakeDetections(request);
    } else if (IsLakeRequest(route, request.query)) {
      response = co_await QueryLake(request, route);
      if (peer_gone_) co_return false;
    } else if (route == Route::kStream) {
      const bool again = co_await Stream(request, head_only);
      co_return again;
    } else {
      response = Answer(request, route);
    }
  }
  const bool again = co_await Send(std::move(response), route, head_only);
  co_return again;
}

// Returns true if the connection can take another request.
asio::awaitable<bool> HttpConnection::Send(Response response, Route route, bool head_only) {
  const bool close = response.close || body_unread_ || !parser_->keep_alive() || context_.stopping;
  const std::string head = Head(response, close, cors_);
  const bool spooled = response.spool != nullptr;
  std::vector<asio::const_buffer> first;
  first.push_back(asio::buffer(head));
  if (!head_only && !spooled) first.push_back(asio::buffer(response.body));
  bool sent = co_await WriteAll(std::move(first));
  if (sent && spooled && !head_only) sent = co_await SendSpool(*response.spool);
  context_.metrics.CountRequest(route, response.status);
  if (!sent) co_return false;
  if (close) co_await Linger();
  co_return !close;
}

// Sends an answer of the lake from where it lies: a slow reader costs nothing but the place.
asio::awaitable<bool> HttpConnection::SendSpool(const Spool& spool) {
  std::vector<char> piece(kSpoolReadBytes);
  for (int64_t offset = 0; offset < spool.size();) {
    const Result<size_t> read = spool.Read(offset, piece);
    // The head has promised more, so the connection can only end.
    if (!read.ok() || read.value() == 0) co_return false;
    std::vector<asio::const_buffer> next(1, asio::buffer(piece.data(), read.value()));
    const bool written = co_await WriteAll(std::move(next));
    if (!written) co_return false;
    offset += static_cast<int64_t>(read.value());
  }
  co_return true;
}

// If we closed while the client still sends, the kernel would reset the connection, and the client
// might never read the answer. So we close our side and drop what comes for a moment, until the
// client sees that we are done. Time and bytes are bounded.
asio::awaitable<void> HttpConnection::Linger() {
  error_code ignored;
  stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  if (!body_unread_) co_return;
  phase_ = Phase::kLingering;
  stream_.expires_after(kLinger);
  buffer_.clear();
  std::vector<char> dropped(kChunkedReadBytes);
  for (int64_t left = kLingerBytesMax; left > 0 && !context_.stopping;) {
    auto [error, bytes] = co_await stream_.async_read_some(asio::buffer(dropped), kAwaitToken);
    if (error) co_return;
    left -= static_cast<int64_t>(bytes);
  }
}

// -- POST /v1/detections -------------------------------------------------------------------------

asio::awaitable<Response> HttpConnection::TakeDetections(const Request& request) {
  const auto start = steady_clock::now();
  // A body that could never get its memory is refused for good, or its sender would retry for ever.
  const int64_t bytes_max = std::min(context_.options.body_bytes_max,
                                     context_.options.ingest_memory_bytes_max / kBodyCopies);
  if (!request.transfer_encoding.empty() && !beast::iequals(request.transfer_encoding, "chunked"))
    co_return Problem(501,
                      "the only supported Transfer-Encoding is \"chunked\": use it, or send a "
                      "Content-Length");
  const std::optional<Body::Encoding> encoding = EncodingOf(request.content_encoding);
  if (!encoding) {
    co_return Problem(
        415, fmt::format("\"Content-Encoding: {:.100}\" is not supported: use gzip or none",
                         request.content_encoding));
  }
  const uint64_t length = parser_->content_length().value_or(0);
  if (length > static_cast<uint64_t>(bytes_max)) {
    co_return Problem(413, fmt::format("the body has {} bytes, but server.body_max allows {}: send "
                                       "it in smaller parts",
                                       length, bytes_max));
  }
  BodyRead read;
  Ingested ingested;
  {
    // The body gives its memory back before the wait for the log: by then the records exist.
    Body body(*encoding, bytes_max, &context_.ingest_memory);
    read.outcome = body.Expect(static_cast<int64_t>(length));
    if (read.outcome == Body::Outcome::kOk) {
      if (beast::iequals(parser_->get()[http::field::expect], "100-continue")) co_await Continue();
      if (parser_->chunked()) {
        read = co_await ReadChunkedBody(body);
      } else {
        read = co_await ReadBody(body, length);
      }
    }
    if (read.cut) {  // usually the client is gone and nobody reads this
      co_return Problem(
          read.cut == beast::error::timeout ? 408 : 400,
          fmt::format("the body did not arrive completely: {}; send it again", read.cut.message()));
    }
    if (read.outcome == Body::Outcome::kOk) read.outcome = body.Finish();
    if (read.outcome != Body::Outcome::kOk) co_return Explain(read.outcome, bytes_max);
    if (IsBlank(body.text()))
      co_return Problem(400, "the body is empty: send detections as lines of JSON or an array");
    ingested = co_await Decode(body.text());
  }
  Response response = co_await MakeDurable(std::move(ingested));
  const std::chrono::duration<double> seconds = steady_clock::now() - start;
  if (response.status == 200 || response.status == 422)
    context_.metrics.ObserveIngest(seconds.count());
  co_return response;
}

// The client waits for this before it sends the body (RFC 9110, section 10.1.1). If the write
// fails, the next read fails, too.
asio::awaitable<void> HttpConnection::Continue() {
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  stream_.expires_after(milliseconds(context_.options.stall_timeout.v));
  co_await asio::async_write(stream_, asio::buffer(kContinue), kAwaitToken);
}

// Reads a body of known length: first what is in the buffer, then from the socket straight into the
// body. It never reads a byte of the next request.
asio::awaitable<HttpConnection::BodyRead> HttpConnection::ReadBody(Body& body, uint64_t bytes) {
  BodyRead read;
  stream_.expires_after(milliseconds(context_.options.body_timeout.v));
  while (bytes > 0 && read.outcome == Body::Outcome::kOk && !read.cut) {
    const std::span<char> room = body.Prepare(bytes);
    if (room.empty()) {
      read.outcome = Body::Outcome::kNoMemory;
      break;
    }
    size_t came = std::min(room.size(), buffer_.size());
    if (came > 0) {
      std::memcpy(room.data(), buffer_.data().data(), came);
      buffer_.consume(came);
    } else {
      auto [error, count] =
          co_await stream_.async_read_some(asio::buffer(room.data(), room.size()), kAwaitToken);
      read.cut = error;
      came = count;
    }
    bytes -= came;
    context_.metrics.bytes_received += static_cast<int64_t>(came);
    read.outcome = body.Commit(came);
  }
  body_unread_ = bytes > 0;
  co_return read;
}

asio::awaitable<HttpConnection::BodyRead> HttpConnection::ReadChunkedBody(Body& body) {
  BodyRead read;
  stream_.expires_after(milliseconds(context_.options.body_timeout.v));
  buffer_.reserve(kChunkedReadBytes);  // Beast reads at most as much as the buffer has room for
  while (!parser_->is_done() && read.outcome == Body::Outcome::kOk && !read.cut) {
    const std::span<char> room = body.Prepare(kChunkedReadBytes);
    if (room.empty()) {
      read.outcome = Body::Outcome::kNoMemory;
      break;
    }
    auto& target = parser_->get().body();
    target.data = room.data();
    target.size = room.size();
    target.more = true;
    auto [error, ignored] = co_await http::async_read_some(stream_, buffer_, *parser_, kAwaitToken);
    // need_buffer only says that `room` is full.
    if (error != http::error::need_buffer) read.cut = error;
    const size_t came = room.size() - target.size;
    context_.metrics.bytes_received += static_cast<int64_t>(came);
    read.outcome = body.Commit(came);
  }
  body_unread_ = !parser_->is_done();
  co_return read;
}

// Decodes in steps. Between them the other connections of this thread get their turn.
asio::awaitable<Ingested> HttpConnection::Decode(std::string_view text) {
  Ingest ingest(text, context_.ports.log->partitions(), &worker_.scratch);
  while (!ingest.Step(kIngestStepBytes)) {
    co_await asio::post(stream_.get_executor(), asio::use_awaitable);
  }
  co_return ingest.Take();
}

// Answers 200 or 422 only when the log has made every record durable: from then on the sender may
// forget the body. After 429 or 503 it sends the same body again, and the engine drops the copies.
asio::awaitable<Response> HttpConnection::MakeDurable(Ingested ingested) {
  if (!ingested.records.empty()) {
    // Shared with the log, which may answer after Stop() has given up waiting for it.
    const auto appended = std::make_shared<std::optional<Status>>();
    auto done = [appended, wake = wakeup_.Waker()](Status status) {
      *appended = std::move(status);
      wake();
    };
    if (!context_.ports.log->Append(std::move(ingested.records), std::move(done))) {
      co_return TryAgain(429, kRetryAfterSeconds,
                         "the log's queue is full and nothing was accepted: send the same again");
    }
    co_await wakeup_.Wait();
    CHECK(appended->has_value());
    if (!(*appended)->ok()) {
      co_return TryAgain(
          503, kSecondsUntilDurable,
          fmt::format("the detections are not durable: {}; send the same again, they "
                      "will count once",
                      (*appended)->message()));
    }
  }
  context_.metrics.CountIngest(ingested);
  Response response{.status = ingested.status(), .body = ingested.ToJson()};
  if (response.status != 200) response.content_type = kProblemType;
  response.body.push_back('\n');
  co_return response;
}

// -- requests to the lake ------------------------------------------------------------------------

// A query blocks, so a thread of the call pool runs it. Meanwhile this coroutine waits for whatever
// comes first: the answer, or the client's departure.
asio::awaitable<Response> HttpConnection::QueryLake(const Request& request, Route route) {
  if (context_.ports.queries == nullptr)
    co_return Problem(404, "this server has no lake: start it with lake.enabled = true");
  // Shared with the pool's thread, which may answer after Stop() has given up waiting for it.
  struct LakeQuery {
    ApiCall call;
    Response response;  // read when `answered`
    std::atomic<bool> answered = false;
    std::stop_source abandoned;
  };
  const auto lake_query = std::make_shared<LakeQuery>();
  lake_query->call = {.route = route,
                      .query = std::string(request.query),
                      .body = {},
                      .scope = ScopeOf(request),
                      .start = steady_clock::now(),
                      .abandoned = lake_query->abandoned.get_token()};
  if (route == Route::kQuery) {
    Response refusal = co_await ReadQuery(request, lake_query->call.body);
    if (refusal.status != 200) co_return refusal;
  }
  auto answer = [lake_query, &context = context_, wake = answered_.Waker()] {
    lake_query->response = AnswerFromLake(lake_query->call, *context.ports.queries,
                                          context.ports.clock->NowMs(), &context.answers);
    lake_query->answered = true;
    wake();
  };
  CallPool& calls = route == Route::kQuery ? *context_.sql_calls : *context_.fixed_calls;
  if (!calls.Submit(
          {.run = std::move(answer), .client = client_, .abandoned = lake_query->call.abandoned}))
    co_return TryAgain(429, kRetryAfterSeconds,
                       "too many queries are waiting (query.waiting_max): ask again later");
  watching_ = true;
  stop_watching_ = false;
  asio::co_spawn(
      stream_.get_executor(), [self = shared_from_this()] { return self->WatchQueryClient(); },
      asio::detached);
  while (!lake_query->answered && !peer_gone_) co_await answered_.Wait();
  // WatchQueryClient() uses the buffer until it ends, so it must end before the next request is
  // read.
  stop_watching_ = true;
  error_code ignored;
  stream_.socket().cancel(ignored);
  while (watching_) co_await answered_.Wait();
  if (peer_gone_) {
    lake_query->abandoned.request_stop();
    ++context_.metrics.calls_abandoned;
    co_return Response();  // nobody reads it
  }
  co_return std::move(lake_query->response);
}

// Notices when the client of a query leaves, so that the query gives up its slot. What the client
// sends meanwhile belongs to its next request and stays in the buffer; when that is full, watching
// ends. A client that closes its sending side counts as gone, because nobody can see whether it
// would still read.
asio::awaitable<void> HttpConnection::WatchQueryClient() {
  while (!stop_watching_ && buffer_.size() < kHeaderBytesMax) {
    auto [error, bytes] =
        co_await stream_.socket().async_read_some(buffer_.prepare(kReadBytes), kAwaitToken);
    buffer_.commit(bytes);
    if (!error || stop_watching_) continue;
    peer_gone_ = true;
    break;
  }
  watching_ = false;
  answered_.Fire();
}

// Reads the body into `text`. A status other than 200 is the refusal to send.
asio::awaitable<Response> HttpConnection::ReadQuery(const Request& request, std::string& text) {
  const std::optional<uint64_t> length = parser_->content_length()
                                             ? std::optional<uint64_t>(*parser_->content_length())
                                             : std::nullopt;
  if (!length || !request.transfer_encoding.empty())
    co_return Problem(411, "the body has no length: send it with a \"Content-Length\"");
  if (!request.content_encoding.empty())
    co_return Problem(415, "the body has a \"Content-Encoding\": send it without one");
  if (*length > static_cast<uint64_t>(kQueryBodyBytesMax))
    co_return Problem(
        413, fmt::format("the body has {} bytes, but {} are allowed: shorten the query", *length,
                         kQueryBodyBytesMax));
  Body body(Body::Encoding::kPlain, kQueryBodyBytesMax, &context_.ingest_memory);
  BodyRead read{.outcome = body.Expect(static_cast<int64_t>(*length))};
  if (read.outcome == Body::Outcome::kOk) {
    if (beast::iequals(parser_->get()[http::field::expect], "100-continue")) co_await Continue();
    read = co_await ReadBody(body, *length);
  }
  if (read.cut)
    co_return Problem(
        read.cut == beast::error::timeout ? 408 : 400,
        fmt::format("the body did not arrive completely: {}; send it again", read.cut.message()));
  if (read.outcome == Body::Outcome::kOk) read.outcome = body.Finish();
  if (read.outcome != Body::Outcome::kOk) co_return Explain(read.outcome, kQueryBodyBytesMax);
  text = body.text();
  co_return Response();
}

// -- GET /v1/stream ------------------------------------------------------------------------------

// Refusals are ordinary answers. Once the head of the stream is sent, the connection can only end.
asio::awaitable<bool> HttpConnection::Stream(const Request& request, bool head_only) {
  std::unique_ptr<Hub::Viewer> viewer;
  auto view = ParseView(request, Route::kStream, context_.pane_size);
  std::optional<Response> refusal;
  if (auto* bad = std::get_if<Response>(&view)) {
    refusal = std::move(*bad);
  } else if (std::string why = LiveNotReady(); !why.empty()) {
    refusal = TryAgain(503, kRetryAfterSeconds, why);
  } else {
    auto subscribed =
        context_.ports.hub->Subscribe(std::get<View>(view), request.last_event_id, wakeup_.Waker());
    if (subscribed.ok()) {
      viewer = std::move(subscribed).value();
    } else {
      refusal = TryAgain(503, kRetryAfterSeconds, subscribed.status().message());
    }
  }
  if (refusal) {
    const bool again = co_await Send(std::move(*refusal), Route::kStream, head_only);
    co_return again;
  }
  context_.metrics.CountRequest(Route::kStream, 200);
  const std::string head = StreamHead(cors_);
  stream_.expires_after(milliseconds(context_.options.stall_timeout.v));
  auto [error, bytes] = co_await asio::async_write(stream_, asio::buffer(head), kAwaitToken);
  context_.metrics.bytes_sent += static_cast<int64_t>(bytes);
  if (error || head_only || context_.stopping) co_return false;

  phase_ = Phase::kStreaming;
  ++context_.metrics.streams;
  asio::co_spawn(
      stream_.get_executor(), [self = shared_from_this()] { return self->WatchPeer(); },
      asio::detached);
  co_await StreamTo(*viewer);
  --context_.metrics.streams;
  stream_.close();  // ends WatchPeer()
  co_return false;
}

asio::awaitable<void> HttpConnection::StreamTo(Hub::Viewer& viewer) {
  while (!peer_gone_ && !context_.stopping) {
    std::vector<SseMessage> messages = viewer.Take();
    if (messages.empty()) {
      co_await wakeup_.Wait();
      continue;
    }
    const bool written = co_await Write(std::move(messages));
    if (!written) co_return;
  }
}

// Returns false if the client is gone or took nothing for stall_timeout. Changes that come
// meanwhile do not queue up here: the hub keeps them once for all viewers.
asio::awaitable<bool> HttpConnection::Write(std::vector<SseMessage> messages) {
  std::vector<asio::const_buffer> buffers;
  buffers.reserve(messages.size());
  for (const SseMessage& message : messages) buffers.push_back(asio::buffer(*message));
  const bool written = co_await WriteAll(std::move(buffers));
  if (written) stream_.expires_never();
  co_return written;
}

// Returns false if the client is gone, or took nothing for stall_timeout: it may be as slow as it
// likes while it takes something.
asio::awaitable<bool> HttpConnection::WriteAll(std::vector<asio::const_buffer> buffers) {
  beast::buffers_suffix<std::vector<asio::const_buffer>> rest(buffers);
  while (beast::buffer_bytes(rest) > 0) {
    stream_.expires_after(milliseconds(context_.options.stall_timeout.v));
    auto [error, bytes] = co_await stream_.async_write_some(rest, kAwaitToken);
    context_.metrics.bytes_sent += static_cast<int64_t>(bytes);
    if (error == beast::error::timeout && phase_ == Phase::kStreaming)
      ++context_.metrics.streams_stalled;
    if (error) co_return false;
    rest.consume(bytes);
  }
  co_return true;
}

// Notices at once when a viewer leaves, not only at the next message. What the client sends is
// dropped, because a stream is the last answer of its connection.
asio::awaitable<void> HttpConnection::WatchPeer() {
  std::array<char, 512> dropped;
  for (;;) {
    // Reads from the socket, because a read from the stream would share the writes' timer.
    auto [error, bytes] =
        co_await stream_.socket().async_read_some(asio::buffer(dropped), kAwaitToken);
    if (error) break;
  }
  peer_gone_ = true;
  wakeup_.Fire();
}

// -- everything else -----------------------------------------------------------------------------

Response HttpConnection::Answer(const Request& request, Route route) {
  switch (route) {
    case Route::kTop:
    case Route::kLocations:
    case Route::kLedger: {
      auto view = ParseView(request, route, context_.pane_size);
      if (auto* refusal = std::get_if<Response>(&view)) return std::move(*refusal);
      if (const std::string why = LiveNotReady(); !why.empty())
        return TryAgain(503, kRetryAfterSeconds, why);
      return AnswerView(std::get<View>(view), route, *context_.ports.live);
    }
    case Route::kAlerts:
      return AnswerAlerts(request);
    case Route::kHealth:
      return AnswerHealth(context_.ports.health, "degraded");
    case Route::kLive:
      return AnswerHealth(context_.ports.alive, "stuck");
    case Route::kReady:
      return AnswerHealth(context_.ports.ready, "not ready");
    case Route::kMetrics:
      return AnswerMetrics();
    case Route::kPage:
      return context_.page.Get(request.path, request.if_none_match);
    case Route::kDetections:
    case Route::kStream:
    case Route::kCounts:
    case Route::kItems:
    case Route::kQuery:
    case Route::kOther:
      break;
  }
  CHECK(false);
  return {};
}

std::string HttpConnection::LiveNotReady() const {
  return context_.ports.live_not_ready ? context_.ports.live_not_ready() : "";
}

// `otherwise` is the status text when there are reasons.
Response HttpConnection::AnswerHealth(const std::function<Health()>& ask,
                                      std::string_view otherwise) const {
  const Health health = ask ? ask() : Health{};
  Response response{.status = health.ok ? 200 : 503};
  const bool fine = health.ok && health.reasons.empty();
  response.body = fmt::format(R"({{"status":"{}","reasons":[)", fine ? "ok" : otherwise);
  for (const std::string& reason : health.reasons) {
    if (&reason != &health.reasons.front()) response.body.push_back(',');
    AppendJsonString(response.body, reason);
  }
  response.body += "],\"boot\":";
  AppendJsonString(response.body, context_.ports.hub->boot());
  response.body += "}\n";
  return response;
}

Response HttpConnection::AnswerAlerts(const Request& request) const {
  auto view = ParseView(request, Route::kAlerts, context_.pane_size);
  if (auto* refusal = std::get_if<Response>(&view)) return std::move(*refusal);
  Response response;
  response.body = context_.ports.alerts ? context_.ports.alerts(std::get<View>(view).scope)
                                        : R"({"version":0,"alerts":[]})";
  response.body.push_back('\n');
  return response;
}

Response HttpConnection::AnswerMetrics() const {
  const std::vector<Metric> others =
      context_.ports.metrics ? context_.ports.metrics() : std::vector<Metric>{};
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8",
          .body = context_.metrics.Text(
              {.ingest_memory_bytes = context_.ingest_memory.bytes(),
               .answer_memory_bytes = context_.answers.memory.bytes(),
               .answer_disk_bytes = context_.answers.disk.bytes(),
               .calls_waiting = static_cast<int64_t>(context_.sql_calls->waiting() +
                                                     context_.fixed_calls->waiting())},
              others)};
}

}  // namespace

void Connection::Start(tcp::socket socket, Worker* worker, bool refused) {
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  // Its coroutines own the connection; it is destroyed when the last of them ends.
  auto connection = std::make_shared<HttpConnection>(std::move(socket), worker, refused);
  asio::co_spawn(
      worker->io, [connection] { return connection->Run(); },
      [](std::exception_ptr failed) {
        if (failed == nullptr) return;
        try {
          std::rethrow_exception(failed);
        } catch (const std::exception& error) {
          LogError(fmt::format("a connection was closed by an internal error: {}", error.what()));
        }
      });
}

}  // namespace sightline
