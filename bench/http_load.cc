// Puts load on a running `sightline up`, over plain sockets, and checks the results.
//
//   http_load ingest  --port 8080 [--events 1000000] [--lines 1000] [--connections 4]
//                     [--cameras 2000] [--locations 200] [--copies 0.1] [--seed 1]
//   http_load latency --port 8080 [--rate 1000] [--seconds 20] [--connections 16]
//
// ingest: makes bodies of `lines` detections before the clock starts. Each connection has a thread
// of its own, posts its share body by body, and repeats what is answered with 429 or 503. Reports
// the events acknowledged per second, and counted per second (until the ledger has them all). Fails
// unless the ledger's `received` grew by exactly what was sent, and `counted` by the distinct ids.
//
// latency: posts one detection at a time, `rate` per second in all, on persistent connections, each
// with a camera and a location of its own. One viewer reads /v1/stream?location=all. The latency of
// an event is the time from the moment before its POST is written until the first message arrives
// in which its location's total includes it. A connection's events are counted in order, so this is
// exact. `from_schedule` counts from the moment when the event was due, so that a slow answer is
// not hidden by the pause that it causes. Fails unless every event is in the stream, and the ledger
// says the same.
//
// Prints one JSON object. If something is wrong, the exit code is 1 and the reason is on stderr.

#include "load_client.h"

namespace {

using namespace load;  // NOLINT: the other half of this program

// -- ingest
// ----------------------------------------------------------------------------------------

struct Prepared {
  std::vector<std::string> requests;
  std::vector<int64_t> lines;  // in each
  int64_t distinct = 0;
};

// The share of one connection: its cameras are its own, so that copies follow their first.
Prepared Prepare(int64_t events, int64_t lines, int64_t share, int64_t shares, int64_t cameras,
                 int64_t locations, double copies, uint64_t seed, int64_t base) {
  std::mt19937_64 random(seed * 1'000 + static_cast<uint64_t>(share));
  auto part = [&] { return static_cast<double>(random() >> 11) * 0x1.0p-53; };
  Prepared prepared;
  std::vector<std::string> recent(256);
  const int64_t now_ms = NowMs();
  int64_t made = 0;
  for (int64_t left = events; left > 0;) {
    const int64_t count = std::min(lines, left);
    std::string body;
    body.reserve(static_cast<size_t>(count) * 170);
    for (int64_t i = 0; i < count; ++i, ++made) {
      if (made >= 256 && part() < copies) {
        body += recent[random() % recent.size()];
        continue;
      }
      const int64_t camera =
          static_cast<int64_t>(random() %
                               static_cast<uint64_t>(std::max<int64_t>(1, cameras / shares))) *
              shares +
          share;
      // Squared: some locations and items are much more frequent than others.
      const double item = part(), disorder = part();
      std::string& line = recent[static_cast<size_t>(made) % recent.size()];
      line.clear();
      AppendDetection(line, 1 + camera % locations, 1'000'000 + camera,
                      base + (share << 30) + prepared.distinct++,
                      kItems[static_cast<size_t>(item * item * kItems.size())],
                      now_ms - static_cast<int64_t>(disorder * 5'000));
      body += line;
    }
    prepared.requests.push_back(Request("POST", "/v1/detections", body));
    prepared.lines.push_back(count);
    left -= count;
  }
  return prepared;
}

struct PostTally {
  std::vector<double> ms;
  int64_t bytes = 0;
  int64_t refused = 0;
};

void PostAll(uint16_t port, const Prepared& prepared, PostTally* tally) {
  Connection connection(port);
  for (size_t i = 0; i < prepared.requests.size(); ++i) {
    const auto begin = Clock::now();
    for (;;) {
      connection.Send(prepared.requests[i]);
      const Connection::Answer answer = connection.ReadAnswer();
      if (answer.status == 200) {
        if (NumberOf(answer.body, "accepted") != prepared.lines[i])
          Fail("a body of " + std::to_string(prepared.lines[i]) + " detections: " + answer.body);
        break;
      }
      if (answer.status != 429 && answer.status != 503)
        Fail("status " + std::to_string(answer.status) + ": " + answer.body);
      ++tally->refused;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    tally->ms.push_back(Seconds(Clock::now() - begin).count() * 1e3);
    tally->bytes += static_cast<int64_t>(prepared.requests[i].size());
  }
}

int Ingest(const Options& options) {
  const auto port = static_cast<uint16_t>(options.Integer("port", 1));
  const int64_t events = options.Integer("events", 1),
                connections = options.Integer("connections", 1);
  const int64_t base = RandomBase();
  std::vector<Prepared> shares(static_cast<size_t>(connections));
  {
    std::vector<std::thread> threads;
    for (int64_t i = 0; i < connections; ++i)
      threads.emplace_back([&, i] {
        shares[static_cast<size_t>(i)] = Prepare(
            events / connections + (i < events % connections ? 1 : 0), options.Integer("lines", 1),
            i, connections, options.Integer("cameras", 1), options.Integer("locations", 1),
            options.Number("copies", 0), static_cast<uint64_t>(options.Integer("seed", 0)), base);
      });
    for (std::thread& thread : threads) thread.join();
  }
  int64_t distinct = 0;
  for (const Prepared& share : shares) distinct += share.distinct;

  const Ledger before = ReadLedger(port);
  std::vector<PostTally> tallies(shares.size());
  const auto begin = Clock::now();
  {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < shares.size(); ++i)
      threads.emplace_back(PostAll, port, std::cref(shares[i]), &tallies[i]);
    for (std::thread& thread : threads) thread.join();
  }
  const double acknowledged = Seconds(Clock::now() - begin).count();
  const double counted = Seconds(WaitReceived(port, before.received + events) - begin).count();
  const Ledger after = ReadLedger(port);
  CheckLedger(before, after, events, distinct);

  PostTally all;
  for (const PostTally& tally : tallies) {
    all.ms.insert(all.ms.end(), tally.ms.begin(), tally.ms.end());
    all.bytes += tally.bytes;
    all.refused += tally.refused;
  }
  std::printf(
      "{\"benchmark\":\"ingest\",\"events\":%lld,\"distinct\":%lld,\"connections\":%lld,"
      "\"lines_per_body\":%lld,\"bodies\":%zu,\"bytes\":%lld,\"refused\":%lld,"
      "\"seconds_acknowledged\":%.3f,\"events_per_second\":%.0f,\"mib_per_second\":%.1f,"
      "\"seconds_counted\":%.3f,\"counted_per_second\":%.0f,\"post_ms\":%s,\"checked\":true}\n",
      static_cast<long long>(events), static_cast<long long>(distinct),
      static_cast<long long>(connections), static_cast<long long>(options.Integer("lines", 1)),
      all.ms.size(), static_cast<long long>(all.bytes), static_cast<long long>(all.refused),
      acknowledged, static_cast<double>(events) / acknowledged,
      static_cast<double>(all.bytes) / acknowledged / 1048576.0, counted,
      static_cast<double>(events) / counted, PercentilesJson(all.ms).c_str());
  return 0;
}
// -- latency
// ---------------------------------------------------------------------------------------

struct Times {
  std::vector<Clock::time_point> due, sent, answered;
};

void PostSteadily(uint16_t port, int64_t oid, int64_t first_id, size_t events,
                  Clock::time_point first, Clock::duration interval, Times* times) {
  Connection connection(port);
  std::string body;
  for (size_t i = 0; i < events; ++i) {
    const auto due = first + interval * static_cast<int64_t>(i);
    std::this_thread::sleep_until(due);
    body.clear();
    AppendDetection(body, oid, oid, first_id + static_cast<int64_t>(i),
                    kItems[i * i % kItems.size()], NowMs());
    const std::string request = Request("POST", "/v1/detections", body);
    times->due.push_back(due);
    times->sent.push_back(Clock::now());
    connection.Send(request);
    const Connection::Answer answer = connection.ReadAnswer();
    times->answered.push_back(Clock::now());
    if (answer.status != 200 || NumberOf(answer.body, "accepted") != 1)
      Fail("status " + std::to_string(answer.status) + ": " + answer.body);
  }
}

int Latency(const Options& options) {
  const auto port = static_cast<uint16_t>(options.Integer("port", 1));
  const double rate = options.Number("rate", 1), seconds = options.Number("seconds", 0.1);
  const auto connections = static_cast<size_t>(options.Integer("connections", 1));
  const auto events =
      static_cast<size_t>(std::ceil(rate * seconds / static_cast<double>(connections)));
  const auto interval =
      std::chrono::duration_cast<Clock::duration>(Seconds(static_cast<double>(connections) / rate));
  const int64_t base = RandomBase();
  const auto sent = static_cast<int64_t>(connections * events);

  const Ledger before = ReadLedger(port);
  StreamReader stream(port, base, connections, events);
  std::vector<Times> times(connections);
  const auto begin = Clock::now() + std::chrono::milliseconds(50);
  {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < connections; ++i)
      threads.emplace_back(
          PostSteadily, port, base + static_cast<int64_t>(i),
          base + (static_cast<int64_t>(i) << 28), events,
          begin + interval * static_cast<int64_t>(i) / static_cast<int64_t>(connections), interval,
          &times[i]);
    for (std::thread& thread : threads) thread.join();
  }
  const double took = Seconds(Clock::now() - begin).count();
  WaitReceived(port, before.received + sent);
  for (const auto deadline = Clock::now() + std::chrono::seconds(10); stream.seen() < sent;
       std::this_thread::sleep_for(std::chrono::milliseconds(5)))
    if (Clock::now() > deadline)
      Fail("the stream shows " + std::to_string(stream.seen()) + " events of " +
           std::to_string(sent));
  stream.Stop();
  CheckLedger(before, ReadLedger(port), sent, sent);

  std::vector<double> from_post, from_schedule, post;
  for (size_t c = 0; c < connections; ++c)
    for (size_t i = 0; i < events; ++i) {
      auto ms = [](Clock::duration length) { return Seconds(length).count() * 1e3; };
      from_post.push_back(ms(stream.arrived(c, i) - times[c].sent[i]));
      from_schedule.push_back(ms(stream.arrived(c, i) - times[c].due[i]));
      post.push_back(ms(times[c].answered[i] - times[c].sent[i]));
    }
  std::printf(
      "{\"benchmark\":\"latency\",\"events\":%lld,\"connections\":%zu,\"rate_wanted\":%.0f,"
      "\"rate\":%.0f,\"seconds\":%.2f,\"stream_messages\":%lld,\"stream_bytes\":%lld,"
      "\"post_to_stream_ms\":%s,\"from_schedule_ms\":%s,\"post_ms\":%s,\"checked\":true}\n",
      static_cast<long long>(sent), connections, rate, static_cast<double>(sent) / took, took,
      static_cast<long long>(stream.messages()), static_cast<long long>(stream.bytes()),
      PercentilesJson(from_post).c_str(), PercentilesJson(from_schedule).c_str(),
      PercentilesJson(post).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "ingest")
    return Ingest({argc,
                   argv,
                   {{"port", "8080"},
                    {"events", "1000000"},
                    {"lines", "1000"},
                    {"connections", "4"},
                    {"cameras", "2000"},
                    {"locations", "200"},
                    {"copies", "0.1"},
                    {"seed", "1"}}});
  if (mode == "latency")
    return Latency(
        {argc,
         argv,
         {{"port", "8080"}, {"rate", "1000"}, {"seconds", "20"}, {"connections", "16"}}});
  std::fprintf(stderr, "usage: http_load ingest|latency [--port 8080] [--name value ...]\n");
  return 2;
}
