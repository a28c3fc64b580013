// InOurWords: what DuckDB says of a question that fails, as a sentence for the person who asked. A
// pure function.
#pragma once

#include <string>
#include <string_view>

namespace sightline {

// Drops the kind of the error ("Binder Error:") and the drawing of the place ("LINE 2: ..." and a
// caret), says the place as "line 2, column 8:" where it is in the question, and says of the common
// mistakes what to do. Names that DuckDB suggests stay. Anything else keeps its text; a message of
// another kind, about files or memory, is returned as it is.
std::string InOurWords(std::string_view message);

}  // namespace sightline
