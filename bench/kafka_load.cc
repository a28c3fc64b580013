// Puts load on Kafka and on a `sightline up --kafka` that reads it, and checks the results.
//
//   kafka_load fill    --brokers H:P --topic T [--events 1000000] [--cameras 2000]
//                      [--locations 200] [--copies 0.1] [--seed 1]
//   kafka_load latency --brokers H:P --topic T --counts C --port 8080 [--rate 2000] [--seconds 20]
//                      [--locations 16]
//
// fill: writes the events, one per message, keyed by camera, and prints how many there are and how
// many of them are distinct. The caller times the program that counts them.
//
// latency: publishes one detection per message at `rate` per second, each location in one
// partition. The clock of an event starts before it is handed to the producer (linger 0, acks all).
// It stops
//  - for `screen`, when the first message of /v1/stream arrives whose location total includes it;
//  - for `committed`, when a read_committed consumer of C receives the record after which the sum
//    of its location includes it, by the reader's rule.
// Fails unless every event arrives in both, and the ledger says the same.
#include <librdkafka/rdkafka.h>

#include <unordered_map>

#include "load_client.h"

namespace {

using namespace load;  // NOLINT: the other half of this program

rd_kafka_t* MakeClient(rd_kafka_type_t type, const std::string& brokers,
                       const std::vector<std::pair<const char*, const char*>>& settings) {
  rd_kafka_conf_t* const conf = rd_kafka_conf_new();
  char error[512];
  if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers.c_str(), error, sizeof error) !=
      RD_KAFKA_CONF_OK)
    Fail(error);
  for (const auto& [name, value] : settings)
    if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK) Fail(error);
  rd_kafka_t* const client = rd_kafka_new(type, conf, error, sizeof error);
  if (client == nullptr) Fail(error);
  return client;
}

void Produce(rd_kafka_t* producer, const char* topic, int64_t camera, std::string_view value) {
  const std::string key = std::to_string(camera);
  while (true) {
    const rd_kafka_resp_err_t error =
        rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key.data(), key.size()),
                          RD_KAFKA_V_VALUE(const_cast<char*>(value.data()), value.size()),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) break;
    if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL) Fail(rd_kafka_err2str(error));
    rd_kafka_poll(producer, 10);
  }
}

void Flush(rd_kafka_t* producer) {
  if (rd_kafka_flush(producer, 60'000) != RD_KAFKA_RESP_ERR_NO_ERROR) Fail("not all is written");
  rd_kafka_destroy(producer);
}

int Fill(const Options& options) {
  const std::string topic = options.Text("topic");
  const int64_t events = options.Integer("events", 1), cameras = options.Integer("cameras", 1),
                locations = options.Integer("locations", 1), base = RandomBase();
  const double copies = options.Number("copies", 0);
  std::mt19937_64 random(static_cast<uint64_t>(options.Integer("seed", 0)));
  const auto part = [&] { return static_cast<double>(random() >> 11) * 0x1.0p-53; };
  rd_kafka_t* const producer = MakeClient(RD_KAFKA_PRODUCER, options.Text("brokers"),
                                          {{"linger.ms", "20"},
                                           {"compression.codec", "lz4"},
                                           {"acks", "all"},
                                           {"enable.idempotence", "true"},
                                           {"partitioner", "murmur2_random"},
                                           {"queue.buffering.max.messages", "2000000"}});
  std::vector<std::pair<int64_t, std::string>> recent(256);  // camera, event
  int64_t distinct = 0;
  const int64_t now_ms = NowMs();
  for (int64_t n = 0; n < events; ++n) {
    auto& [camera, line] = recent[static_cast<size_t>(distinct) % recent.size()];
    if (n >= 256 && part() < copies) {
      const auto& copy = recent[random() % recent.size()];
      Produce(producer, topic.c_str(), copy.first, copy.second);
    } else {
      camera = static_cast<int64_t>(random() % static_cast<uint64_t>(cameras));
      const double item = part(), disorder = part();
      line.clear();
      AppendDetection(line, 1 + camera % locations, camera, base + distinct++,
                      kItems[static_cast<size_t>(item * item * kItems.size())],
                      now_ms - static_cast<int64_t>(disorder * 5'000));
      line.pop_back();
      Produce(producer, topic.c_str(), camera, line);
    }
    if (n % 10'000 == 0) rd_kafka_poll(producer, 0);
  }
  Flush(producer);
  std::printf("{\"benchmark\":\"fill\",\"events\":%lld,\"distinct\":%lld}\n",
              static_cast<long long>(events), static_cast<long long>(distinct));
  return 0;
}

// When the committed counts of each location first included each of its events.
class CountsReader {
 public:
  CountsReader(const std::string& brokers, const std::string& topic, int64_t base, size_t locations,
               size_t events)
      : base_(base),
        arrived_(locations, std::vector<Clock::time_point>(events)),
        totals_(locations),
        client_(MakeClient(RD_KAFKA_CONSUMER, brokers,
                           {{"group.id", "kafka_load"},
                            {"isolation.level", "read_committed"},
                            {"enable.auto.commit", "false"},
                            {"auto.offset.reset", "latest"},
                            {"fetch.wait.max.ms", "100"}})) {
    rd_kafka_poll_set_consumer(client_);
    const rd_kafka_metadata_t* metadata = nullptr;
    rd_kafka_topic_t* const handle = rd_kafka_topic_new(client_, topic.c_str(), nullptr);
    if (rd_kafka_metadata(client_, 0, handle, &metadata, 10'000) != RD_KAFKA_RESP_ERR_NO_ERROR)
      Fail("no metadata of " + topic);
    rd_kafka_topic_partition_list_t* const all = rd_kafka_topic_partition_list_new(16);
    for (int p = 0; p < metadata->topics[0].partition_cnt; ++p) {
      int64_t low = 0, high = 0;
      if (rd_kafka_query_watermark_offsets(client_, topic.c_str(), p, &low, &high, 10'000) != 0)
        Fail("no offsets of " + topic);
      rd_kafka_topic_partition_list_add(all, topic.c_str(), p)->offset = high;
    }
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(handle);
    rd_kafka_assign(client_, all);
    rd_kafka_topic_partition_list_destroy(all);
    thread_ = std::thread([this] {
      while (!stop_) Take();
    });
  }
  ~CountsReader() {
    Stop();
    rd_kafka_consumer_close(client_);
    rd_kafka_destroy(client_);
  }
  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int64_t seen() const { return seen_; }
  Clock::time_point arrived(size_t location, size_t event) const {
    return arrived_[location][event];
  }

 private:
  void Take() {
    rd_kafka_message_t* const message = rd_kafka_consumer_poll(client_, 50);
    if (message == nullptr) return;
    const auto now = Clock::now();
    if (message->err == 0) {
      const std::string_view value(static_cast<const char*>(message->payload), message->len);
      const int64_t oid = NumberOf(value, "geographical_location_oid").value_or(-1);
      if (oid >= base_ && oid < base_ + static_cast<int64_t>(arrived_.size())) {
        const int64_t count = NumberOf(value, "item_count").value_or(0);
        int64_t& known =
            newest_[std::string(static_cast<const char*>(message->key), message->key_len)];
        int64_t& total = totals_[static_cast<size_t>(oid - base_)];
        auto& times = arrived_[static_cast<size_t>(oid - base_)];
        for (int64_t n = known; n < count; ++n, ++seen_)
          times.at(static_cast<size_t>(total++)) = now;
        known = count;
      }
    }
    rd_kafka_message_destroy(message);
  }

  const int64_t base_;
  std::vector<std::vector<Clock::time_point>> arrived_;
  std::vector<int64_t> totals_;
  std::unordered_map<std::string, int64_t> newest_;
  rd_kafka_t* const client_;
  std::atomic<int64_t> seen_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

int Latency(const Options& options) {
  const std::string brokers = options.Text("brokers"), topic = options.Text("topic");
  const auto port = static_cast<uint16_t>(options.Integer("port", 1));
  const double rate = options.Number("rate", 1), seconds = options.Number("seconds", 0.1);
  const auto locations = static_cast<size_t>(options.Integer("locations", 1));
  const auto events = static_cast<size_t>(rate * seconds / static_cast<double>(locations));
  const auto sent = static_cast<int64_t>(locations * events);
  const auto interval = std::chrono::duration_cast<Clock::duration>(Seconds(1 / rate));
  const int64_t base = RandomBase();
  rd_kafka_t* const producer = MakeClient(RD_KAFKA_PRODUCER, brokers,
                                          {{"linger.ms", "0"},
                                           {"acks", "all"},
                                           {"enable.idempotence", "true"},
                                           {"partitioner", "murmur2_random"}});
  const Ledger before = ReadLedger(port);
  StreamReader screen(port, base, locations, events);
  CountsReader committed(brokers, options.Text("counts"), base, locations, events);
  std::vector<std::vector<Clock::time_point>> published(locations);
  const auto begin = Clock::now() + std::chrono::seconds(1);
  std::string line;
  for (int64_t n = 0; n < sent; ++n) {
    std::this_thread::sleep_until(begin + interval * n);
    const auto location = static_cast<size_t>(n) % locations;
    const int64_t oid = base + static_cast<int64_t>(location);
    line.clear();
    AppendDetection(line, oid, oid, base + (int64_t{1} << 30) + n,
                    kItems[static_cast<size_t>(n * n) % kItems.size()], NowMs());
    line.pop_back();
    published[location].push_back(Clock::now());
    Produce(producer, topic.c_str(), oid, line);
    rd_kafka_poll(producer, 0);
  }
  const double took = Seconds(Clock::now() - begin).count();
  Flush(producer);
  WaitReceived(port, before.received + sent);
  for (const auto deadline = Clock::now() + std::chrono::seconds(20);
       screen.seen() < sent || committed.seen() < sent;
       std::this_thread::sleep_for(std::chrono::milliseconds(5)))
    if (Clock::now() > deadline)
      Fail("of " + std::to_string(sent) + " events the stream shows " +
           std::to_string(screen.seen()) + ", the topic " + std::to_string(committed.seen()));
  screen.Stop();
  committed.Stop();
  CheckLedger(before, ReadLedger(port), sent, sent);
  std::vector<double> to_screen, to_committed;
  for (size_t l = 0; l < locations; ++l)
    for (size_t i = 0; i < events; ++i) {
      const auto ms = [&](Clock::time_point t) {
        return Seconds(t - published[l][i]).count() * 1e3;
      };
      to_screen.push_back(ms(screen.arrived(l, i)));
      to_committed.push_back(ms(committed.arrived(l, i)));
    }
  std::printf(
      "{\"benchmark\":\"latency\",\"events\":%lld,\"rate\":%.0f,\"seconds\":%.2f,\"screen_ms\":%s,"
      "\"committed_ms\":%s,\"checked\":true}\n",
      static_cast<long long>(sent), static_cast<double>(sent) / took, took,
      PercentilesJson(to_screen).c_str(), PercentilesJson(to_committed).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "fill")
    return Fill({argc,
                 argv,
                 {{"brokers", "127.0.0.1:9092"},
                  {"topic", "raw_camera_events"},
                  {"events", "1000000"},
                  {"cameras", "2000"},
                  {"locations", "200"},
                  {"copies", "0.1"},
                  {"seed", "1"}}});
  if (mode == "latency")
    return Latency({argc,
                    argv,
                    {{"brokers", "127.0.0.1:9092"},
                     {"topic", "raw_camera_events"},
                     {"counts", "located_item_counts"},
                     {"port", "8080"},
                     {"rate", "2000"},
                     {"seconds", "20"},
                     {"locations", "16"}}});
  std::fprintf(stderr, "usage: kafka_load fill|latency [--brokers H:P] [--name value ...]\n");
  return 2;
}
