#include "camera/gzip.h"

#include <fmt/format.h>
#include <zlib.h>

#include "base/check.h"

namespace sightline {
namespace {

constexpr int kGzipOnly = 16;  // zlib's code for "gzip, not zlib", added to the window bits

Bytef* Input(std::string_view bytes) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
}

}  // namespace

std::string Gzip(std::string_view bytes) {
  z_stream stream{};
  CHECK(deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + kGzipOnly, 8,
                     Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = Input(bytes);
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

struct Gunzip::State {
  z_stream stream{};
  bool inside = false;
};

Gunzip::Gunzip() : state_(std::make_unique<State>()) {
  CHECK(inflateInit2(&state_->stream, MAX_WBITS + kGzipOnly) == Z_OK);
}

Gunzip::~Gunzip() { inflateEnd(&state_->stream); }

Status Gunzip::Push(std::string_view bytes, std::string* out) {
  z_stream& stream = state_->stream;
  stream.next_in = Input(bytes);
  stream.avail_in = static_cast<uInt>(bytes.size());
  char piece[64 << 10];
  do {
    if (!state_->inside) {
      if (stream.avail_in == 0) break;
      CHECK(inflateReset(&stream) == Z_OK);
      state_->inside = true;
    }
    stream.next_out = reinterpret_cast<Bytef*>(piece);
    stream.avail_out = sizeof piece;
    const int code = inflate(&stream, Z_NO_FLUSH);
    out->append(piece, sizeof piece - stream.avail_out);
    if (code == Z_STREAM_END) {
      state_->inside = false;
    } else if (code != Z_OK && code != Z_BUF_ERROR) {
      return Status::Stop(fmt::format("not valid gzip: {}", stream.msg ? stream.msg : "damaged"));
    }
  } while (stream.avail_in > 0 || stream.avail_out == 0);
  return Status::Ok();
}

bool Gunzip::complete() const { return !state_->inside; }

}  // namespace sightline
