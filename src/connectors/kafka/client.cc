#include "connectors/kafka/client.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <mutex>

#include "base/log.h"

namespace sightline::kafka {
namespace {

constexpr int kSyslogError = 3;
constexpr int kSyslogDebug = 7;
constexpr int64_t kQuietMs = 10'000;

// librdkafka 2.15.1 reports a replaced topic only with this log line (its source has a FIXME
// there). The system test `kafka_topic_again` fails if a newer version words it differently.
constexpr std::string_view kReplacedText = " changed id from ";
// The id was not known before: the topic is not a replaced one.
constexpr std::string_view kNoId = "AAAAAAAAAAAAAAAAAAAAAA";

void LookForReplaced(const rd_kafka_t* client, std::string_view text) {
  const auto* const replaced =
      static_cast<const std::function<void(std::string_view)>*>(rd_kafka_opaque(client));
  const size_t at = text.find(kReplacedText);
  if (replaced == nullptr || at == std::string_view::npos) return;
  if (text.substr(at + kReplacedText.size()).starts_with(kNoId)) return;
  const std::string_view before = text.substr(0, at);
  (*replaced)(before.substr(before.rfind(' ') + 1));
}

// librdkafka reports an unreachable broker many times a second. One line in 10 s is enough, for all
// clients of the process together; the others are debug lines.
void OnLog(const rd_kafka_t* client, int level, const char*, const char* text) {
  if (level >= kSyslogDebug) return LookForReplaced(client, text);
  static std::atomic<int64_t> silent_until_ms = 0;
  const int64_t now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                             std::chrono::steady_clock::now().time_since_epoch())
                             .count();
  int64_t until = silent_until_ms.load();
  if (now_ms < until || !silent_until_ms.compare_exchange_strong(until, now_ms + kQuietMs)) {
    Log(LogLevel::kDebug, fmt::format("kafka: {}", text));
    return;
  }
  Log(level <= kSyslogError ? LogLevel::kWarning : LogLevel::kInfo, fmt::format("kafka: {}", text));
}

// Where OnError() stores an error while TakeTrouble() polls on this thread.
thread_local std::string* trouble_of_poll = nullptr;

// Errors come back from the calls that meet them. Those that no call meets are in the log.
void OnError(rd_kafka_t*, int error, const char* reason, void*) {
  // "All brokers are down" follows the error that names the reason, and must not replace it.
  if (trouble_of_poll != nullptr && error != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
    *trouble_of_poll = reason;
}

// Explains why OpenSSL refused a certificate, which librdkafka leaves out. The numbers are those of
// OpenSSL's x509_vfy.h.
std::string_view CertificateFault(int x509_error) {
  switch (x509_error) {
    case 9:
      return "it is not valid yet";
    case 10:
      return "it has expired";
    case 18:
    case 19:
    case 20:
    case 21:
      return "it is not signed by an authority in kafka.ssl_ca (or in this system's store)";
    case 62:
    case 64:
      return "it belongs to another host";
    default:
      return "";
  }
}

// The last refusal of the process. All of its clients connect to the same brokers.
class LastFault {
 public:
  void Set(std::string fault) {
    const std::lock_guard lock(mutex_);
    fault_ = std::move(fault);
  }
  std::string Get() const {
    const std::lock_guard lock(mutex_);
    return fault_;
  }

 private:
  mutable std::mutex mutex_;
  std::string fault_;  // under mutex_
};
LastFault& CertificateRefused() {
  static LastFault fault;
  return fault;
}

// Keeps OpenSSL's verdict and remembers its reason.
int OnCertificate(rd_kafka_t*, const char*, int32_t, int* x509_error, int, const char*, size_t,
                  char* text, size_t text_size, void*) {
  if (*x509_error == 0) return 1;
  const std::string_view known = CertificateFault(*x509_error);
  const std::string fault =
      known.empty() ? fmt::format("OpenSSL's error {}", *x509_error) : std::string(known);
  const auto end = fmt::format_to_n(text, static_cast<std::ptrdiff_t>(text_size) - 1, "{}", fault);
  *end.out = '\0';
  CertificateRefused().Set(fault);
  return 0;
}

Settings ConnectionSettings(const KafkaOptions& options) {
  Settings settings = {{"bootstrap.servers", options.brokers},
                       {"client.id", options.client_id},
                       {"security.protocol", options.security_protocol},
                       // New topics, partitions and leaders are known after at most this long.
                       {"topic.metadata.refresh.interval.ms", "10000"},
                       {"reconnect.backoff.max.ms", "1000"},
                       {"allow.auto.create.topics", "false"},
                       {"socket.nagle.disable", "true"},
                       {"message.max.bytes", fmt::format("{}", kKafkaMessageBytesMax)},
                       {"log_level", "4"}};
  const auto add = [&settings](const char* name, const std::string& value) {
    if (!value.empty()) settings.emplace_back(name, value);
  };
  add("sasl.mechanisms", options.sasl_mechanism);
  add("sasl.username", options.sasl_username);
  add("sasl.password", options.sasl_password);
  add("ssl.ca.location", options.ssl_ca);
  add("ssl.certificate.location", options.ssl_certificate);
  add("ssl.key.location", options.ssl_key);
  add("ssl.key.password", options.ssl_key_password);
  return settings;
}

bool IsSecret(std::string_view name) { return name.ends_with("password"); }

}  // namespace

std::string ErrorText(rd_kafka_resp_err_t error) { return rd_kafka_err2str(error); }

std::string Where(std::string_view topic, int32_t partition) {
  return fmt::format("topic '{}' partition {}", topic, partition);
}

std::string TakeTrouble(rd_kafka_t* client) {
  std::string trouble;
  trouble_of_poll = &trouble;
  rd_kafka_poll(client, 0);
  trouble_of_poll = nullptr;
  if (trouble.find("certificate verify failed") != std::string::npos)
    trouble += "; the broker's certificate: " + CertificateRefused().Get();
  return trouble;
}

Settings ReaderSettings(const KafkaOptions& options) {
  return {{"group.id", "sightline"},  // librdkafka asks for one; no group is joined under it
          {"enable.auto.commit", "false"},
          {"enable.auto.offset.store", "false"},
          {"auto.offset.reset", "error"},
          {"isolation.level", "read_committed"},
          {"enable.partition.eof", "true"},
          {"check.crcs", "true"},
          {"fetch.wait.max.ms", "100"},
          {"fetch.queue.backoff.ms", fmt::format("{}", options.queue_backoff.v)},
          {"queued.max.messages.kbytes", fmt::format("{}", options.queue_bytes_max / 1024)}};
}

Result<Handle> MakeClient(rd_kafka_type_t type, const KafkaOptions& options,
                          const Settings& settings, const Callbacks& callbacks) {
  Owned<rd_kafka_conf_t, rd_kafka_conf_destroy> conf(rd_kafka_conf_new());
  char error[512] = "";
  for (const Settings& part : {ConnectionSettings(options), settings, options.settings}) {
    for (const auto& [name, value] : part) {
      if (rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), error, sizeof error) ==
          RD_KAFKA_CONF_OK)
        continue;
      return Status::Stop(IsSecret(name) ? fmt::format("kafka: the setting '{}' is refused", name)
                                         : fmt::format("kafka: {}", error));
    }
  }
  rd_kafka_conf_set_log_cb(conf.get(), OnLog);
  rd_kafka_conf_set_error_cb(conf.get(), OnError);
  rd_kafka_conf_set_ssl_cert_verify_cb(conf.get(), OnCertificate);
  if (callbacks.on_delivery != nullptr)
    rd_kafka_conf_set_dr_msg_cb(conf.get(), callbacks.on_delivery);
  if (callbacks.on_rebalance != nullptr) {
    rd_kafka_conf_set_rebalance_cb(conf.get(), callbacks.on_rebalance);
    rd_kafka_conf_set_opaque(conf.get(), callbacks.rebalance_opaque);
  } else {
    rd_kafka_conf_set_opaque(conf.get(),
                             const_cast<void*>(static_cast<const void*>(callbacks.on_replaced)));
  }
  Handle handle(rd_kafka_new(type, conf.get(), error, sizeof error));
  if (handle == nullptr) return Status::Stop(fmt::format("kafka: {}", error));
  static_cast<void>(conf.release());  // the handle owns it now
  return handle;
}

void AskOffset(rd_kafka_t* client, const std::string& topic, int32_t partition, int64_t spec,
               rd_kafka_IsolationLevel_t isolation, int timeout_ms, rd_kafka_queue_t* queue,
               void* opaque) {
  const Partitions partitions(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(partitions.get(), topic.c_str(), partition)->offset = spec;
  const AdminOptions options(rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_LISTOFFSETS));
  char error[512];
  rd_kafka_AdminOptions_set_request_timeout(options.get(), timeout_ms, error, sizeof error);
  const Error refused(rd_kafka_AdminOptions_set_isolation_level(options.get(), isolation));
  rd_kafka_AdminOptions_set_opaque(options.get(), opaque);
  rd_kafka_ListOffsets(client, partitions.get(), options.get(), queue);
}

Result<OffsetAnswer> ReadOffsetAnswer(rd_kafka_event_t* event) {
  // librdkafka says "No leaders found".
  if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__NOENT)
    return Status::Retry(
        "no broker leads the partition: the topic has too few partitions, or its brokers are away; "
        "`sightline topics check` says which topics have too few");
  if (const rd_kafka_resp_err_t error = rd_kafka_event_error(event); error != 0)
    return Status::Retry(fmt::format("kafka: {}", rd_kafka_event_error_string(event)));
  const rd_kafka_ListOffsets_result_t* const result = rd_kafka_event_ListOffsets_result(event);
  if (result == nullptr) return Status::Retry("kafka: the answer is not one about offsets");
  size_t count = 0;
  const rd_kafka_ListOffsetsResultInfo_t** const infos =
      rd_kafka_ListOffsets_result_infos(result, &count);
  if (count != 1) return Status::Retry("kafka: the answer does not contain the offset");
  const rd_kafka_topic_partition_t* const partition =
      rd_kafka_ListOffsetsResultInfo_topic_partition(infos[0]);
  if (partition->err != RD_KAFKA_RESP_ERR_NO_ERROR)
    return Status::Retry(fmt::format("{}: {}", Where(partition->topic, partition->partition),
                                     ErrorText(partition->err)));
  // A broker that has just started may answer without an offset and without an error. Taken for an
  // offset, that would be the end of an empty topic.
  if (partition->offset < -1)
    return Status::Retry(fmt::format("{}: the broker does not report its offsets yet",
                                     Where(partition->topic, partition->partition)));
  return OffsetAnswer{partition->topic, partition->partition, partition->offset,
                      rd_kafka_ListOffsetsResultInfo_timestamp(infos[0])};
}

}  // namespace sightline::kafka
