// decode: bytes of a message -> Events.
//
// A message holds one JSON object, an array of them, or lines of either. A bad element becomes an
// Event of kind kMalformed and spoils only itself. Never fails, never throws, whatever the bytes.
// One Decoder a thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/event.h"
#include "pipeline/spec.h"

namespace sightline {

// Bytes behind a message that must be readable (their value does not matter).
constexpr size_t kDecodePadding = 64;

class Decoder {
 public:
  explicit Decoder(TimeUnit timestamp_unit);
  ~Decoder();
  Decoder(Decoder&&) noexcept;

  // Appends the elements of one message to `out`. `message` must have kDecodePadding readable bytes
  // behind it and must outlive the events, whose views point into it or into the decoder's arena.
  // An empty message (or only white space) is one malformed element: nothing sent is unexplained.
  void Decode(std::string_view message, std::vector<Event>& out);

  // The same for one element that is known to be one JSON object (a line of NDJSON).
  void DecodeElement(std::string_view element, std::vector<Event>& out);

  // Frees the arena: the views of all earlier events become invalid.
  void Clear();

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

// A time as an operator writes it in an option: RFC 3339, or a decimal integer in `unit`. False if
// it is neither, or lies outside years 0001..9999.
bool ParseTime(std::string_view text, TimeUnit unit, EventTime* time);

}  // namespace sightline
