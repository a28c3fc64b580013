// Decoder: turns the bytes of a message into Events.
//
// docs/SEMANTICS.md, "Decoding", says what a message is. A bad element becomes an Event of kind
// kMalformed and affects no other element. Decoding never fails and never throws,
// whatever the bytes. Use one Decoder per thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/event.h"
#include "pipeline/spec.h"

namespace sightline {

// How many bytes behind a message must be readable. Their value does not matter.
constexpr size_t kDecodePadding = 64;

class Decoder {
 public:
  explicit Decoder(const DecodeRules& rules);
  ~Decoder();
  Decoder(Decoder&&) noexcept;

  // Appends the elements of one message to `out`. kDecodePadding bytes behind `message` must be
  // readable. `message` must outlive the events, whose views point into it or into the decoder's
  // arena. An empty message (or one of white space only) is one malformed element: every message
  // leaves a trace in the ledger.
  void Decode(std::string_view message, std::vector<Event>& out);

  // The same for a single JSON object, such as a line of NDJSON.
  void DecodeElement(std::string_view element, std::vector<Event>& out);

  // Returns a message that is exactly one malformed element, whatever `element` is: its own bytes,
  // or more where these look valid on their own, or like several elements.
  std::string AsOneMalformed(std::string_view element);

  // Frees the arena. The views of all earlier events become invalid.
  void Clear();

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

// Parses a time as a person writes it in an option: RFC 3339, or a decimal integer in `unit`. False
// if it is neither, or lies outside years 0001..9999.
bool ParseTime(std::string_view text, TimeUnit unit, EventTime* time);

}  // namespace sightline
