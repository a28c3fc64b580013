#include "batch/input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>

#include "operators/decode.h"
#include "operators/json_walk.h"
#include "operators/split_message.h"

namespace sightline {
namespace {

constexpr size_t kBlockBytes = 1 << 20;
constexpr size_t kLineBytesMax = size_t{1} << 30;
// Elements are smaller: a file without a place to cut it in so many bytes is damaged there.
constexpr size_t kUncutBytesMax = 4 << 20;
constexpr int kTriesMax = 1'000;

enum class Format : uint8_t { kPlain, kGzip, kZstd };

// One open file. Decompresses what it reads.
class File {
 public:
  static Result<std::unique_ptr<File>> Open(const std::string& path,
                                            std::atomic<int64_t>* counter) {
    const int fd = path == "-" ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return Status::Stop(fmt::format("cannot read '{}': {}", path, strerror(errno)));
    auto file = std::unique_ptr<File>(new File(path, fd, counter));
    RETURN_IF_ERROR(file->Fill());
    file->Sniff();
    return file;
  }
  ~File() {
    if (format_ == Format::kGzip) inflateEnd(&zlib_);
    if (zstd_ != nullptr) ZSTD_freeDStream(zstd_);
    if (fd_ != STDIN_FILENO) close(fd_);
  }

  // Reads up to `space` decompressed bytes. Returns 0 at the end of the file.
  Result<size_t> Read(char* out, size_t space) {
    switch (format_) {
      case Format::kPlain:
        return ReadPlain(out, space);
      case Format::kGzip:
        return ReadGzip(out, space);
      case Format::kZstd:
        return ReadZstd(out, space);
    }
    return size_t{0};
  }

 private:
  File(std::string path, int fd, std::atomic<int64_t>* counter)
      : path_(std::move(path)), fd_(fd), counter_(counter), raw_(kBlockBytes) {}

  Status Fill() {
    if (at_ < filled_ || ended_) return Status::Ok();
    at_ = filled_ = 0;
    Result<size_t> n = ReadRaw(raw_.data(), raw_.size());
    if (!n.ok()) return n.status();
    filled_ = n.value();
    return Status::Ok();
  }
  Result<size_t> ReadRaw(char* out, size_t space) {
    ssize_t n;
    do {
      n = read(fd_, out, space);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return Status::Stop(fmt::format("cannot read '{}': {}", path_, strerror(errno)));
    ended_ = n == 0;
    counter_->fetch_add(n, std::memory_order_relaxed);
    return static_cast<size_t>(n);
  }
  void Sniff() {
    const std::string_view head(raw_.data(), filled_);
    if (head.starts_with("\x1f\x8b")) {
      format_ = Format::kGzip;
      inflateInit2(&zlib_, 15 + 16);
    } else if (head.starts_with("\x28\xb5\x2f\xfd")) {
      format_ = Format::kZstd;
      zstd_ = ZSTD_createDStream();
    }
  }
  Result<size_t> ReadPlain(char* out, size_t space) {
    if (at_ < filled_) {  // the bytes that Sniff() has looked at
      const size_t n = std::min(space, filled_ - at_);
      std::memcpy(out, raw_.data() + at_, n);
      at_ += n;
      return n;
    }
    return ReadRaw(out, space);
  }
  Status Damaged(std::string_view why) {
    return Status::Stop(fmt::format("'{}' is damaged after {} bytes: {}", path_,
                                    counter_->load(std::memory_order_relaxed), why));
  }
  Result<size_t> ReadGzip(char* out, size_t space) {
    zlib_.next_out = reinterpret_cast<Bytef*>(out);
    zlib_.avail_out = static_cast<uInt>(std::min<size_t>(space, 1 << 30));
    const uInt wanted = zlib_.avail_out;
    while (zlib_.avail_out == wanted) {
      RETURN_IF_ERROR(Fill());
      if (at_ == filled_) {  // the end of the file must be the end of a gzip member
        if (!member_ended_) return Damaged("the gzip stream is cut off");
        return size_t{0};
      }
      if (member_ended_) {
        inflateReset2(&zlib_, 15 + 16);
        member_ended_ = false;
      }
      zlib_.next_in = reinterpret_cast<Bytef*>(raw_.data() + at_);
      zlib_.avail_in = static_cast<uInt>(filled_ - at_);
      const int result = inflate(&zlib_, Z_NO_FLUSH);
      at_ = filled_ - zlib_.avail_in;
      if (result == Z_STREAM_END) {
        member_ended_ = true;
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        return Damaged(zlib_.msg != nullptr ? zlib_.msg : "not a gzip stream");
      }
    }
    return static_cast<size_t>(wanted - zlib_.avail_out);
  }
  Result<size_t> ReadZstd(char* out, size_t space) {
    ZSTD_outBuffer output{out, space, 0};
    while (output.pos == 0) {
      RETURN_IF_ERROR(Fill());
      if (at_ == filled_) {
        if (!member_ended_) return Damaged("the zstd stream is cut off");
        return size_t{0};
      }
      ZSTD_inBuffer input{raw_.data(), filled_, at_};
      const size_t result = ZSTD_decompressStream(zstd_, &output, &input);
      if (ZSTD_isError(result)) return Damaged(ZSTD_getErrorName(result));
      at_ = input.pos;
      member_ended_ = result == 0;
    }
    return output.pos;
  }

  std::string path_;
  int fd_;
  std::atomic<int64_t>* counter_;
  std::vector<char> raw_;
  size_t at_ = 0, filled_ = 0;
  bool ended_ = false, member_ended_ = false;
  Format format_ = Format::kPlain;
  z_stream zlib_{};
  ZSTD_DStream* zstd_ = nullptr;
};

bool Opens(char c) { return c == '{' || c == '['; }

// Finds where a file may be cut into blocks if its values do not end with their lines: an array or
// an object over many lines, or values without line ends between them. It sees each byte once.
class CutFinder {
 public:
  struct Cut {
    size_t at = 0;
    bool in_array = false;  // behind an element of the outermost array, at its comma
  };
  // `text` is the block so far; the bytes before `seen` have been given before.
  void Look(std::string_view text, size_t seen) {
    for (size_t i = seen; i < text.size(); ++i) Take(text[i], i);
  }
  // The last place that was seen in this block.
  std::optional<Cut> last() const { return cut_; }
  // The block was cut there; what lies behind it has been seen already.
  void Continue() { cut_.reset(); }
  // What is known of the nesting is wrong: it begins again, in the outermost array if there is one.
  bool Restart() {
    depth_ = array_ ? 1 : 0;
    in_string_ = escaped_ = false;
    return array_;
  }

 private:
  void Take(char c, size_t at) {
    if (in_string_ && c != '\n') {
      in_string_ = escaped_ || c != '"';
      escaped_ = !escaped_ && c == '\\';
      return;
    }
    in_string_ = c == '"';  // no string goes beyond its line
    escaped_ = false;
    if (Opens(c)) {
      if (depth_ == 0) array_ = c == '[';
      ++depth_;
    }
    if ((c == '}' || c == ']') && depth_ > 0) {
      --depth_;
      if (depth_ == 0) cut_ = {.at = at + 1};
    }
    if (c == ',' && depth_ == 1 && array_) cut_ = {.at = at, .in_array = true};
  }

  std::optional<Cut> cut_;
  int64_t depth_ = 0;
  bool array_ = false;  // the outermost value
  bool in_string_ = false, escaped_ = false;
};

// Where a block of lines is best cut: before a line that opens a value, because a value may have
// several lines. npos: it has no line end.
size_t CutOfLines(std::string_view text) {
  const size_t last = text.rfind('\n');
  size_t end = last;
  for (int tries = 0; tries < kTriesMax && end != std::string_view::npos && end > 0; ++tries) {
    if (end + 1 < text.size() && Opens(text[end + 1])) return end + 1;
    end = text.rfind('\n', end - 1);
  }
  return last == std::string_view::npos ? last : last + 1;
}

std::string_view NameOf(MalformedReason reason) {
  return reason == MalformedReason::kCsv ? "a table (CSV)" : "UTF-16";
}

}  // namespace

struct Input::State {
  std::vector<std::string> paths;
  size_t next_path = 0;
  std::unique_ptr<File> file;
  bool first_block = true;          // the next block is the first one of the file
  std::optional<CutFinder> finder;  // none: the file's values end with their lines
  std::string rest;                 // what lies behind the last block
  std::atomic<int64_t> bytes_read{0};
  int64_t bytes_total = 0;

  Status Begin(std::string_view text);
  Status ReadBlock(LineBlock* block);
  bool CutValues(LineBlock* block);
  // Appends to the block until `space` is used. False: the file has ended before.
  Result<bool> FillBlock(LineBlock* block, size_t space) {
    if (block->storage.size() < block->size + space + kDecodePadding)
      block->storage.resize(block->size + space + kDecodePadding);
    const size_t full = block->size + space;
    while (block->size < full) {
      Result<size_t> n = file->Read(block->storage.data() + block->size, full - block->size);
      if (!n.ok()) return n.status();
      if (n.value() == 0) return false;
      block->size += n.value();
    }
    return true;
  }
};

// Looks at the beginning of a file.
Status Input::State::Begin(std::string_view text) {
  first_block = false;
  const size_t begin = std::min(text.find_first_not_of(" \t\r\n\xEF\xBB\xBF"), text.size());
  text.remove_prefix(begin);
  if (const MalformedReason other = OtherFormat(text); other != MalformedReason::kNone)
    return Status::Stop(
        fmt::format("'{}' is {}: Sightline reads JSON in UTF-8, one detection a "
                    "line or arrays of them",
                    paths[next_path - 1], NameOf(other)));
  if (text.starts_with('[') || EndsInside(text.substr(0, text.find('\n')))) finder.emplace();
  return Status::Ok();
}

// Reads on until the block can be cut, or the file ends.
Status Input::State::ReadBlock(LineBlock* block) {
  for (;;) {
    const size_t seen = block->size;
    const Result<bool> more = FillBlock(block, kBlockBytes);
    if (!more.ok()) return more.status();
    if (first_block) RETURN_IF_ERROR(Begin(block->text()));
    if (!more.value()) {
      file.reset();
      return Status::Ok();
    }
    if (finder) {
      finder->Look(block->text(), seen);
      if (CutValues(block)) return Status::Ok();
    } else if (const size_t cut = CutOfLines(block->text()); cut != std::string_view::npos) {
      rest.assign(block->text().substr(cut));
      block->size = cut;
      return Status::Ok();
    }
    if (block->size > kLineBytesMax)
      return Status::Stop(
          fmt::format("'{}' has a line of more than 1 GiB: it is not JSON", paths[next_path - 1]));
  }
}

// False: there is no place yet.
bool Input::State::CutValues(LineBlock* block) {
  const std::string_view text = block->text();
  if (const auto cut = finder->last()) {
    // An array goes on in the next block as an array of its own.
    rest.assign(text.substr(cut->at));
    if (cut->in_array) {
      rest.front() = '[';
      block->storage[cut->at] = ']';
    }
    block->size = cut->at + (cut->in_array ? 1 : 0);
    finder->Continue();
    return true;
  }
  if (text.size() < kUncutBytesMax) return false;
  const size_t end = CutOfLines(text);
  if (end == std::string_view::npos) return false;
  rest.assign(text.substr(end));
  block->size = end;
  const bool in_array = finder->Restart();
  if (in_array) rest.insert(0, 1, '[');
  finder->Look(rest, in_array ? 1 : 0);
  return true;
}

Input::Input(std::vector<std::string> paths) : state_(std::make_unique<State>()) {
  state_->paths = std::move(paths);
  for (const std::string& path : state_->paths) {
    struct stat info {};
    if (stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode))
      state_->bytes_total += info.st_size;
  }
}
Input::~Input() = default;

Result<bool> Input::Next(LineBlock* block) {
  State& s = *state_;
  for (;;) {
    if (!s.file) {
      if (s.next_path == s.paths.size()) return false;
      Result<std::unique_ptr<File>> file = File::Open(s.paths[s.next_path++], &s.bytes_read);
      if (!file.ok()) return file.status();
      s.file = std::move(file).value();
      s.first_block = true;
      s.finder.reset();
    }
    block->size = s.rest.size();
    if (block->storage.size() < block->size) block->storage.resize(block->size);
    std::copy(s.rest.begin(), s.rest.end(), block->storage.begin());
    s.rest.clear();
    RETURN_IF_ERROR(s.ReadBlock(block));
    if (block->size == 0) continue;
    if (block->storage.size() < block->size + kDecodePadding)
      block->storage.resize(block->size + kDecodePadding);
    return true;
  }
}

int64_t Input::bytes_read() const { return state_->bytes_read.load(std::memory_order_relaxed); }
int64_t Input::bytes_total() const { return state_->bytes_total; }

}  // namespace sightline
