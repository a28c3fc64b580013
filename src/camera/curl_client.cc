#include "camera/curl_client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <atomic>
#include <mutex>

namespace sightline {
namespace {

constexpr int kPollMs = 1'000;

bool IsLoopback(const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parsed(curl_url(), &curl_url_cleanup);
  char* raw = nullptr;
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
      curl_url_get(parsed.get(), CURLUPART_HOST, &raw, 0) != CURLUE_OK)
    return false;
  const std::string host(raw);
  curl_free(raw);
  return host == "localhost" || host == "[::1]" || host.rfind("127.", 0) == 0;
}

// A header of the answer; empty if it has none.
std::string HeaderOf(CURL* curl, const char* name) {
  curl_header* header = nullptr;
  const bool found = curl_easy_header(curl, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK;
  return found ? header->value : "";
}

class CurlClient final : public HttpClient {
 public:
  CurlClient(CURL* handle, CURLM* multi, const CurlClientOptions& options)
      : multi_(multi, &curl_multi_cleanup),
        handle_(handle, &curl_easy_cleanup),
        options_(options) {}

  HttpResponse Post(const std::string& url, const std::vector<std::string>& headers,
                    std::string_view body) override {
    return Request(url, headers, &body);
  }
  HttpResponse Get(const std::string& url) override { return Request(url, {}, nullptr); }

  void Cancel() override {
    cancelled_ = true;
    curl_multi_wakeup(multi_.get());
  }

 private:
  // A null body: GET.
  HttpResponse Request(const std::string& url, const std::vector<std::string>& headers,
                       const std::string_view* body) {
    CURL* const curl = handle_.get();
    curl_easy_reset(curl);
    HttpResponse response;
    answer_ = &response.body;
    error_[0] = '\0';

    curl_slist* raw_list = nullptr;
    for (const std::string& line : headers) raw_list = curl_slist_append(raw_list, line.c_str());
    raw_list = curl_slist_append(raw_list, "Expect:");  // avoids a round trip before a large body
    const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> list(raw_list,
                                                                           &curl_slist_free_all);
    Configure(url, body, list.get());
    const CURLcode code = Perform();
    answer_ = nullptr;
    if (code != CURLE_OK) {
      response.body.clear();
      response.error = error_[0] != '\0' ? error_ : curl_easy_strerror(code);
      return response;
    }
    long status = 0;  // NOLINT: libcurl's type
    curl_off_t retry_after_s = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after_s);
    response.status = static_cast<int32_t>(status);
    response.truncated = HeaderOf(curl, "X-Truncated") == "true";
    response.incomplete = HeaderOf(curl, "X-Incomplete");
    if (retry_after_s > 0) response.retry_after = Millis{retry_after_s * 1'000};
    return response;
  }

  void Configure(const std::string& url, const std::string_view* body, curl_slist* headers) {
    CURL* const curl = handle_.get();
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (body != nullptr) {
      curl_easy_setopt(curl, CURLOPT_POST, 1L);
      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->data());
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body->size()));
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "sightline");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    if (IsLoopback(url)) curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);  // libcurl must not change the process's signals
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                     static_cast<long>(options_.connect_timeout.v));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.timeout.v));
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error_);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &CurlClient::OnAnswer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, this);
  }

  // Like curl_easy_perform(), but Cancel() can wake it. multi_ keeps the connection open.
  CURLcode Perform() {
    CURLM* const multi = multi_.get();
    if (curl_multi_add_handle(multi, handle_.get()) != CURLM_OK) return CURLE_FAILED_INIT;
    CURLcode code = CURLE_ABORTED_BY_CALLBACK;
    int running = 1;
    while (running != 0 && !cancelled_) {
      if (curl_multi_perform(multi, &running) != CURLM_OK) break;
      if (running != 0 && !cancelled_) curl_multi_poll(multi, nullptr, 0, kPollMs, nullptr);
    }
    int messages = 0;
    while (const CURLMsg* const message = curl_multi_info_read(multi, &messages))
      if (message->msg == CURLMSG_DONE) code = message->data.result;
    curl_multi_remove_handle(multi, handle_.get());
    return code;
  }

  static size_t OnAnswer(char* data, size_t size, size_t count, void* self) {
    auto* client = static_cast<CurlClient*>(self);
    const size_t bytes = size * count;
    if (client->answer_->size() + bytes > static_cast<size_t>(client->options_.answer_bytes_max))
      return 0;  // makes libcurl fail the request
    client->answer_->append(data, bytes);
    return bytes;
  }

  const std::unique_ptr<CURLM, decltype(&curl_multi_cleanup)> multi_;  // outlives handle_
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> handle_;
  const CurlClientOptions options_;
  std::atomic<bool> cancelled_{false};

  // Of the current request.
  std::string* answer_ = nullptr;
  char error_[CURL_ERROR_SIZE] = {};
};

}  // namespace

Result<std::unique_ptr<HttpClient>> CreateCurlClient(const CurlClientOptions& options) {
  static std::once_flag once;
  static CURLcode global = CURLE_OK;
  std::call_once(once, [] { global = curl_global_init(CURL_GLOBAL_DEFAULT); });
  CURL* const handle = global == CURLE_OK ? curl_easy_init() : nullptr;
  CURLM* const multi = handle != nullptr ? curl_multi_init() : nullptr;
  if (multi == nullptr) {
    curl_easy_cleanup(handle);
    return Status::Stop("libcurl cannot be initialised");
  }
  return std::unique_ptr<HttpClient>(std::make_unique<CurlClient>(handle, multi, options));
}

}  // namespace sightline
