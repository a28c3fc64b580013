// ElementSplitter: finds the elements of a message or of a body (docs/SEMANTICS.md, "Decoding").
//
// A message is a sequence of JSON values, each an object or an array of objects, in any layout:
// lines, indented, or one behind the other. The splitter looks only at braces, strings, commas and
// line ends; the decoder decides whether an element is valid. Text that is damaged costs itself:
// what follows it is found again at the next line that can only begin a value. Pure; one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/event.h"

namespace sightline {

class ElementSplitter {
 public:
  struct Element {
    std::string_view bytes;  // trimmed; empty between two commas
    int32_t line = 0;        // of its first byte, 0-based
    bool broken = false;     // it has no end, or an array around it has none: malformed in any case
    // The line looks like one object, which is not certain. If RefutesGuess(), call Split().
    bool guess = false;
  };
  explicit ElementSplitter(std::string_view text) : text_(text) {}

  bool Next(Element* element);
  // The last element was a guess, and is not an object: splits its line after all. The element must
  // be dropped; Next() goes on with what is really there.
  void Split();

  // The bytes that are behind the elements so far.
  size_t position() const { return at_; }

 private:
  struct Value {
    size_t end = 0;  // behind the value, or where the text goes on
    bool complete = false;
  };
  void SkipSpace();
  bool InArray(Element* element);
  bool AtTop(Element* element);
  bool Emit(Element* element, size_t end, bool broken);
  Value Scan(bool in_array);
  size_t LineEnd(size_t from);

  const std::string_view text_;
  size_t at_ = 0;
  int32_t line_ = 0;                                  // of at_
  size_t known_line_begin_ = 1, known_line_end_ = 0;  // of the line that was looked for last
  size_t guess_ = 0;                                  // where the last guess begins
  int32_t guess_line_ = 0;
  size_t certain_until_ = 0;  // no guesses before this
  bool in_array_ = false;
  bool element_due_ = false;  // in an array: after a comma
  bool array_empty_ = false;  // no element of it so far
  bool damaged_ = false;      // the array: its end is not missed
  // Looking for the end of values that have none must not cost the square of the text.
  size_t may_scan_again_ = size_t{8} << 20;
};

// Whether a guess was wrong: what the decoder says of a line that is not one object. The other
// reasons are given only to whole objects.
inline bool RefutesGuess(MalformedReason reason) {
  return reason == MalformedReason::kNotJson || reason == MalformedReason::kTooLarge ||
         reason == MalformedReason::kTooDeep;
}

// kUtf16 or kCsv if the text is not JSON but one of these, which are often sent in its place.
// Otherwise kNone.
MalformedReason OtherFormat(std::string_view text);

}  // namespace sightline
