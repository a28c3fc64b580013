#include "connectors/storage/http_pool.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <mutex>
#include <utility>

namespace sightline {
namespace {

// Handles that wait for the next exchange, each with its connections.
constexpr size_t kIdleMax = 32;
constexpr long kBytesPerSecondMin = 1'000;  // NOLINT: libcurl's type
constexpr int64_t kExpectBytesMin = 1 << 20;
constexpr long kUploadBufferBytes = 512L << 10;  // NOLINT: the same

using Handle = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using Headers = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

size_t Append(char* data, size_t size, size_t count, void* to) {
  static_cast<std::string*>(to)->append(data, size * count);
  return size * count;
}

// Of an answer, line by line. Each status line begins anew, as after "100 Continue".
size_t AddHeader(char* data, size_t size, size_t count, void* to) {
  auto& headers = *static_cast<std::map<std::string, std::string>*>(to);
  const std::string_view line(data, size * count);
  const size_t colon = line.find(':');
  if (line.starts_with("HTTP/")) {
    headers.clear();
  } else if (colon != std::string_view::npos) {
    std::string name(line.substr(0, colon));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    const size_t first = line.find_first_not_of(" \t", colon + 1);
    const size_t last = line.find_last_not_of(" \t\r\n");
    headers[name] = first <= last ? line.substr(first, last - first + 1) : "";
  }
  return line.size();
}

// What is sent, how much of it has been, and whether that began anew.
struct Upload {
  const Content& content;
  int64_t sent = 0;
  bool repeated = false;

  static size_t Read(char* into, size_t size, size_t count, void* upload) {
    auto& self = *static_cast<Upload*>(upload);
    const Result<size_t> got = self.content.Read(self.sent, {into, size * count});
    if (!got.ok()) return CURL_READFUNC_ABORT;
    self.sent += static_cast<int64_t>(got.value());
    return got.value();
  }
  // Where a connection that was used again had been closed, libcurl sends once more.
  static int Seek(void* upload, curl_off_t offset, int origin) {
    if (origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
    static_cast<Upload*>(upload)->sent = offset;
    static_cast<Upload*>(upload)->repeated = true;
    return CURL_SEEKFUNC_OK;
  }
};

int MayGoOn(void* stop, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const std::stop_token*>(stop)->stop_requested() ? 1 : 0;
}

// Failures before a byte of the request can have left.
bool NothingSent(CURLcode code) {
  return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT ||
         code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
         code == CURLE_SSL_CONNECT_ERROR || code == CURLE_URL_MALFORMAT ||
         code == CURLE_UNSUPPORTED_PROTOCOL;
}

class CurlPool final : public HttpPool {
 public:
  explicit CurlPool(const HttpPoolOptions& options) : options_(options) {}

  HttpAnswer Send(const HttpRequest& request) override {
    Handle handle = Take();
    if (handle == nullptr) return {.error = "libcurl has no memory", .connected = false};
    CURL* const curl = handle.get();
    HttpAnswer answer;
    char error[CURL_ERROR_SIZE] = {};
    Upload upload{.content = request.body};
    const Headers headers = HeadersOf(request);
    Configure(curl, request, upload);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer.body);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer.headers);
    const CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK) {
      long status = 0;  // NOLINT: libcurl's type
      const char* location = nullptr;
      curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
      curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &location);
      answer.status = static_cast<int32_t>(status);
      if (location != nullptr) answer.location = location;
      const auto date = answer.headers.find("date");
      if (date != answer.headers.end())
        answer.date_ms =
            std::max(int64_t{curl_getdate(date->second.c_str(), nullptr)}, int64_t{0}) * 1'000;
    } else {
      answer.body.clear();
      answer.error = error[0] != '\0' ? error : curl_easy_strerror(code);
      answer.connected = !NothingSent(code);
    }
    answer.may_be_repeated = upload.repeated;
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, nullptr);
    Give(std::move(handle));
    return answer;
  }

 private:
  Handle Take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return {curl_easy_init(), &curl_easy_cleanup};
    Handle handle = std::move(idle_.back());
    idle_.pop_back();
    return handle;
  }
  void Give(Handle handle) {
    const std::lock_guard lock(mutex_);
    if (idle_.size() < kIdleMax) idle_.push_back(std::move(handle));
  }

  Headers HeadersOf(const HttpRequest& request) const {
    Headers headers(nullptr, &curl_slist_free_all);
    const auto add = [&headers](const std::string& line) {
      headers.reset(curl_slist_append(headers.release(), line.c_str()));
    };
    add("Content-Type: application/octet-stream");  // HttpFS wants the type
    if (!options_.expect_continue || request.body.size() < kExpectBytesMin) add("Expect:");
    for (const auto& [name, value] : request.headers) add(name + ": " + value);
    return headers;
  }

  void Configure(CURL* curl, const HttpRequest& request, Upload& upload) const {
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    if (request.method == HttpMethod::kPut || request.method == HttpMethod::kPost) {
      curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
      curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, curl_off_t{request.body.size()});
      curl_easy_setopt(curl, CURLOPT_READFUNCTION, &Upload::Read);
      curl_easy_setopt(curl, CURLOPT_READDATA, &upload);
      curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, &Upload::Seek);
      curl_easy_setopt(curl, CURLOPT_SEEKDATA, &upload);
      curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, kUploadBufferBytes);
    }
    if (request.method == HttpMethod::kPost) curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "POST");
    if (request.method == HttpMethod::kDelete)
      curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "DELETE");
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "sightline");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);  // libcurl must not change the process's signals
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, Count(options_.connect_timeout));
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kBytesPerSecondMin);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, std::max(1L, Count(options_.timeout) / 1'000));
    if (!options_.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, options_.ca_file.c_str());
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Append);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &AddHeader);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &MayGoOn);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &options_.stop);
  }

  static long Count(std::chrono::milliseconds length) {  // NOLINT: libcurl's type
    return static_cast<long>(length.count());            // NOLINT: the same
  }

  const HttpPoolOptions options_;
  std::mutex mutex_;
  std::vector<Handle> idle_;  // under mutex_
};

}  // namespace

Result<std::unique_ptr<HttpPool>> HttpPool::Create(const HttpPoolOptions& options) {
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (global != CURLE_OK) return Status::Stop("libcurl cannot be initialised");
  return std::unique_ptr<HttpPool>(std::make_unique<CurlPool>(options));
}

std::string PercentEncoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || std::string_view("-._~").find(c) != std::string_view::npos)
      encoded += c;
    else
      encoded += fmt::format("%{:02X}", byte);
  }
  return encoded;
}

std::string PercentEncodedPath(std::string_view path) {
  std::string encoded;
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    if (start > 0) encoded += '/';
    encoded += PercentEncoded(path.substr(start, end - start));
    start = end + 1;
  }
  return encoded;
}

std::string PercentDecoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned char byte = 0;
    const char* const end = text.data() + std::min(i + 3, text.size());
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, end, byte, 16).ptr == end) {
      decoded += static_cast<char>(byte);
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

std::string HostOf(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return std::string(url);
  const std::string_view rest = url.substr(scheme + 3);
  return std::string(rest.substr(0, rest.find_first_of("/?#")));
}

}  // namespace sightline
