#include "server/body.h"

#include <zlib.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "operators/decode.h"

namespace sightline {
namespace {
constexpr int64_t kFirstCapacity = 16 * 1024;
constexpr int kGzipOnly = 16 + MAX_WBITS;  // for inflateInit2: refuse zlib and raw streams
}  // namespace

struct Body::Inflater {
  Inflater() { CHECK(inflateInit2(&stream, kGzipOnly) == Z_OK); }
  ~Inflater() { inflateEnd(&stream); }
  z_stream stream{};
  bool in_member = true;  // false between members, where the body may end
  bool padded = false;    // zeros came behind a member: nothing else may follow
  std::array<char, 32 * 1024> packed;
};

Body::Body(Encoding encoding, int64_t bytes_max, MemoryBudget* memory)
    : bytes_max_(bytes_max), memory_(memory) {
  if (encoding == Encoding::kGzip) inflater_ = std::make_unique<Inflater>();
}

Body::~Body() { memory_->Give(kBodyCopies * static_cast<int64_t>(capacity_)); }

Body::Outcome Body::Grow(int64_t capacity) {
  capacity = std::min(capacity, bytes_max_);
  const int64_t more = capacity - static_cast<int64_t>(capacity_);
  if (more <= 0) return Outcome::kOk;
  if (!memory_->Take(kBodyCopies * more)) return Outcome::kNoMemory;
  capacity_ = static_cast<size_t>(capacity);
  text_.resize(capacity_ + kDecodePadding);
  return Outcome::kOk;
}

Body::Outcome Body::GrowIfFull() {
  if (size_ < capacity_) return Outcome::kOk;
  return Grow(std::max(kFirstCapacity, 2 * static_cast<int64_t>(capacity_)));
}

Body::Outcome Body::Expect(int64_t bytes) {
  if (bytes > bytes_max_) return Outcome::kTooLarge;
  // The decompressed size is unknown. Lines of JSON often compress to a quarter.
  return Grow(inflater_ != nullptr ? std::max(kFirstCapacity, 4 * bytes) : bytes);
}

std::span<char> Body::Prepare(size_t bytes_max) {
  if (inflater_ != nullptr) {
    return {inflater_->packed.data(), std::min(bytes_max, inflater_->packed.size())};
  }
  if (GrowIfFull() != Outcome::kOk) return {};
  // A full body of the largest size may still write one byte, into the padding: that shows that
  // more comes than it may have.
  return {text_.data() + size_, std::min(bytes_max, std::max(capacity_ - size_, size_t{1}))};
}

Body::Outcome Body::Commit(size_t bytes) {
  if (inflater_ != nullptr) return Inflate({inflater_->packed.data(), bytes});
  size_ += bytes;
  CHECK(size_ <= capacity_ + 1);
  return size_ > capacity_ ? Outcome::kTooLarge : Outcome::kOk;
}

Body::Outcome Body::Inflate(std::string_view packed) {
  z_stream& stream = inflater_->stream;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  bool full = false;  // the output was: inflate() may have more without any new input
  while (stream.avail_in > 0 || full) {
    if (!inflater_->in_member) {
      SkipPadding();
      if (stream.avail_in == 0) break;
      // RFC 1952, section 2.2: members follow each other.
      if (inflater_->padded || inflateReset(&stream) != Z_OK) return Outcome::kBroken;
      inflater_->in_member = true;
    }
    if (capacity_ == 0) {
      if (const Outcome grown = GrowIfFull(); grown != Outcome::kOk) return grown;
    }
    // A full body may be complete. It grows only when a byte arrives in the padding, so that its
    // memory does not depend on the pieces in which it arrives.
    const size_t room = std::max(capacity_ - size_, size_t{1});
    stream.next_out = reinterpret_cast<Bytef*>(text_.data() + size_);
    stream.avail_out = static_cast<uInt>(room);
    const int result = inflate(&stream, Z_NO_FLUSH);
    size_ += room - stream.avail_out;
    if (size_ > capacity_) {
      if (const Outcome grown = GrowIfFull(); grown != Outcome::kOk) return grown;
      if (size_ > capacity_) return Outcome::kTooLarge;
    }
    full = stream.avail_out == 0 && result == Z_OK;
    if (result == Z_STREAM_END) inflater_->in_member = false;
    if (result == Z_BUF_ERROR) break;  // inflate() needs more input
    if (result != Z_OK && result != Z_STREAM_END) return Outcome::kBroken;
  }
  return Outcome::kOk;
}

// Programs that write whole blocks fill the last one with zeros, and gzip(1) ignores them.
void Body::SkipPadding() {
  z_stream& stream = inflater_->stream;
  while (stream.avail_in > 0 && *stream.next_in == 0) {
    inflater_->padded = true;
    ++stream.next_in;
    --stream.avail_in;
  }
}

Body::Outcome Body::Finish() {
  if (inflater_ != nullptr && inflater_->in_member) return Outcome::kBroken;
  if (text_.empty()) text_.resize(kDecodePadding);
  return Outcome::kOk;
}

}  // namespace sightline
