#include "operators/split_message.h"

#include <algorithm>
#include <bitset>

#include "operators/json_walk.h"

namespace sightline {
namespace {

// A value over several lines that is longer has no end: the decoder would refuse it anyway.
constexpr size_t kValueBytesMax = size_t{1} << 20;
constexpr char kRecordSeparator = '\x1e';  // before each text of a sequence (RFC 7464)
constexpr int64_t kDepthMax = 1'024;       // simdjson follows no deeper

bool Opens(char c) { return c == '{' || c == '['; }
constexpr std::string_view kSpace = " \t\n\r";
bool IsSpace(char c) { return kSpace.find(c) != std::string_view::npos; }

// Walks over the bytes of one value and knows where it is in it.
class Walk {
 public:
  void Take(char c) {
    if (in_string_) {
      in_string_ = escaped_ || c != '"';
      escaped_ = !escaped_ && c == '\\';
      return;
    }
    if (c == '"') in_string_ = true;
    if (Opens(c)) {
      if (depth_ < kDepthMax) objects_[static_cast<size_t>(depth_)] = c == '{';
      ++depth_;
    }
    if ((c == '}' || c == ']') && depth_ > 0) --depth_;
    if (!IsSpace(c)) last_ = c;
  }
  int64_t depth() const { return depth_; }
  bool in_string() const { return in_string_; }
  // Whether `c` would close what `c` does not open: an object with a bracket, or the other way
  // round.
  bool ClosesOther(char c) const {
    if (in_string_ || (c != '}' && c != ']') || depth_ <= 0 || depth_ > kDepthMax) return false;
    return objects_[static_cast<size_t>(depth_ - 1)] != (c == '}');
  }
  // Whether a value may begin here, for example on a new line.
  bool ValueMayBegin() const {
    if (depth_ <= 0 || depth_ > kDepthMax) return false;
    return objects_[static_cast<size_t>(depth_ - 1)] ? last_ == ':' : last_ == '[' || last_ == ',';
  }

 private:
  std::bitset<kDepthMax> objects_;  // by depth: an object, else an array
  int64_t depth_ = 0;
  char last_ = '\0';  // other than a space
  bool in_string_ = false, escaped_ = false;
};

// The first line of a table. Spreadsheets put the separator in a line before it.
bool IsHeader(std::string_view text) {
  constexpr std::string_view kNames[] = {"geographical_location_oid", "video_camera_oid",
                                         "detection_oid", "item_name", "timestamp_detected"};
  std::string_view line = text.substr(0, text.find('\n'));
  if (line.starts_with("sep=")) {
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    line = text.substr(0, text.find('\n'));
  }
  // A piece of an object, whose line was cut off, has the names, too.
  if (line.find_first_of("{}[]:") != line.npos) return false;
  const auto names = std::ranges::count_if(
      kNames, [&](std::string_view name) { return line.find(name) != line.npos; });
  return names >= 2 && line.find_first_of(",;\t") != line.npos;
}

}  // namespace

void ElementSplitter::SkipSpace() {
  for (; at_ < text_.size() && IsSpace(text_[at_]); ++at_)
    if (text_[at_] == '\n') ++line_;
}

// Many values may be on one line, so its end is looked for once.
size_t ElementSplitter::LineEnd(size_t from) {
  if (from < known_line_begin_ || from > known_line_end_) {
    known_line_begin_ = from;
    known_line_end_ = std::min(text_.find('\n', from), text_.size());
  }
  return known_line_end_;
}

bool ElementSplitter::Next(Element* element) {
  for (;;) {
    SkipSpace();
    if (in_array_) {
      if (InArray(element)) return true;
      continue;  // the array has ended
    }
    if (at_ == text_.size()) return false;
    if (text_[at_] == kRecordSeparator) {
      ++at_;
      continue;
    }
    if (text_[at_] != '[') return AtTop(element);
    in_array_ = array_empty_ = element_due_ = true;
    damaged_ = false;
    ++at_;
  }
}

void ElementSplitter::Split() {
  certain_until_ = at_;
  at_ = guess_;
  line_ = guess_line_;
}

// Takes the text up to `end` as the next element.
bool ElementSplitter::Emit(Element* element, size_t end, bool broken) {
  const std::string_view bytes = text_.substr(at_, end - at_);
  *element = {.bytes = Trim(bytes), .line = line_, .broken = broken};
  line_ += static_cast<int32_t>(std::ranges::count(bytes, '\n'));
  at_ = end;
  return true;
}

bool ElementSplitter::AtTop(Element* element) {
  const size_t line_end = LineEnd(at_);
  if (text_[at_] != '{') return Emit(element, line_end, false);
  if (at_ >= certain_until_) {
    if (const std::string_view line = Trim(text_.substr(at_, line_end - at_)); line.back() == '}') {
      guess_ = at_;
      guess_line_ = line_;
      Emit(element, line_end, false);
      element->guess = true;
      return true;
    }
  }
  const Value value = Scan(false);
  if (!value.complete) return Emit(element, value.end, true);
  // A comma may follow, or a bracket, as in lines that were cut out of an array. Other text on the
  // same line belongs to the element, which is then malformed.
  const size_t next = std::min(text_.find_first_not_of(" \t\r", value.end), text_.size());
  const char follows = next < text_.size() ? text_[next] : '\n';
  if (follows == ',') {
    Emit(element, value.end, false);
    at_ = next + 1;
    return true;
  }
  const bool clean =
      follows == '\n' || follows == kRecordSeparator || follows == ']' || Opens(follows);
  return Emit(element, clean ? value.end : LineEnd(value.end), false);
}

// One step within an array. False: it has ended, and there was no element.
bool ElementSplitter::InArray(Element* element) {
  // An array without an end leaves a trace, unless damage has left one.
  if (at_ == text_.size()) {
    in_array_ = false;
    if (damaged_) return false;
    return Emit(element, at_, true);
  }
  const char c = text_[at_];
  if (c == ']' && (array_empty_ || !element_due_)) {
    in_array_ = false;
    ++at_;
    return false;
  }
  if (!element_due_) {
    // Only a comma or the end may follow an element; Scan() has made sure that anything else on its
    // line belongs to it. So this is another line, and the array has lost its end.
    if (c == ',') {
      element_due_ = true;
      ++at_;
      SkipSpace();
      if (at_ == text_.size()) return InArray(element);
    } else {
      in_array_ = false;
      if (damaged_) return false;
      return Emit(element, at_, true);
    }
  }
  array_empty_ = element_due_ = false;
  const Value value = Scan(true);
  Emit(element, value.end, !value.complete);
  if (value.complete) return true;
  damaged_ = true;
  // Lines of objects with commas between them go on as elements of this array; others are lines.
  const size_t next = text_.find_first_not_of(kSpace, at_);
  in_array_ = next != std::string_view::npos && text_[next] == '{';
  element_due_ = in_array_;
  return true;
}

// Finds the end of the value at at_. Of a damaged one, it finds where the text goes on.
ElementSplitter::Value ElementSplitter::Scan(bool in_array) {
  const size_t first_end = LineEnd(at_);
  const size_t bytes_max = std::min(kValueBytesMax, may_scan_again_);
  Walk walk;
  size_t i = at_;
  for (; i < text_.size(); ++i) {
    const char c = text_[i];
    const bool outside = in_array && walk.depth() == 0 && !walk.in_string();
    if (outside && (c == ',' || c == ']')) return {.end = i, .complete = true};
    if (c == '\n') {
      // Here ends what is cut off: a string, or a value behind which another one begins. So does
      // one that is too long.
      const size_t next = std::min(text_.find_first_not_of(kSpace, i), text_.size());
      const bool opens = next < text_.size() && Opens(text_[next]) && !walk.ValueMayBegin();
      if (outside && opens) return {.end = i, .complete = true};
      if (walk.in_string() || opens || i - first_end > bytes_max) break;
      i = next - 1;
      continue;
    }
    if (walk.ClosesOther(c)) {
      i = std::min(text_.find('\n', i), text_.size());
      break;
    }
    walk.Take(c);
    if (!in_array && walk.depth() == 0 && !walk.in_string())
      return {.end = i + 1, .complete = true};
  }
  // An array without an end, behind an element that is whole.
  if (in_array && i == text_.size() && walk.depth() == 0 && !walk.in_string())
    return {.end = i, .complete = true};
  // Damaged. An indented value, which begins with a brace on a line of its own, is lost up to here.
  // Otherwise only the first line is, and the others are looked at again.
  const size_t second = std::min(text_.find_first_not_of(kSpace, first_end), text_.size());
  const bool indented = Trim(text_.substr(at_, first_end - at_)).size() == 1;
  if (second >= i || (indented && !Opens(text_[second]))) return {.end = i};
  may_scan_again_ -= std::min(i - first_end, may_scan_again_);
  return {.end = first_end};
}

MalformedReason OtherFormat(std::string_view text) {
  const auto at = [&](size_t i) { return i < text.size() ? text[i] : 'x'; };
  const bool mark = text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF");
  const bool wide = (Opens(at(0)) && at(1) == '\0') || (at(0) == '\0' && Opens(at(1)));
  if (mark || wide) return MalformedReason::kUtf16;
  if (!text.empty() && !Opens(text.front()) && IsHeader(text)) return MalformedReason::kCsv;
  return MalformedReason::kNone;
}

}  // namespace sightline
