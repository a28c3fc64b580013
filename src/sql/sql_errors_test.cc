#include "sql/sql_errors.h"

#include <gtest/gtest.h>

namespace sightline {
namespace {

TEST(SqlErrorsTest, SaysPlaceAndWhatToDo) {
  EXPECT_EQ(InOurWords("Binder Error: Referenced column \"item_nam\" not found in FROM clause!\n"
                       "Candidate bindings: \"item_name\", \"date\"\n\n"
                       "LINE 2:  item_nam FROM item_counts\n"
                       "         ^"),
            "line 2, column 2: there is no column 'item_nam'; similar names: \"item_name\", "
            "\"date\"");
  EXPECT_EQ(InOurWords("Binder Error: column \"n\" must appear in the GROUP BY clause or must be "
                       "part of an aggregate function.\nEither add it to the GROUP BY list, or use "
                       "\"ANY_VALUE(n)\" if the exact value of \"n\" is not important.\n\n"
                       "LINE 1: select n, count(*) from t\n               ^"),
            "line 1, column 8: the column 'n' is neither in GROUP BY nor in an aggregate function: "
            "add it to GROUP BY, write GROUP BY ALL, or write any_value(n)");
  EXPECT_EQ(InOurWords("Binder Error: Ambiguous reference to column name \"n\" (use: \"a.n\" or "
                       "\"b.n\")\n\nLINE 1: ...t b on a.n=b.n\n               ^"),
            "line 1: several tables have a column 'n': write \"a.n\" or \"b.n\"");
  EXPECT_EQ(InOurWords("Binder Error: Combining QUALIFY with GROUP BY ALL is not supported yet"),
            "QUALIFY and GROUP BY ALL do not go together: name the columns in GROUP BY");
  EXPECT_EQ(InOurWords("Binder Error: Cannot compare values of type DATE and type BIGINT - an "
                       "explicit cast is required\n\nLINE 1: select date = n\n        ^"),
            "line 1, column 1: a DATE and a BIGINT cannot be compared: cast one of them, for "
            "example x::DATE");
  EXPECT_EQ(InOurWords("Conversion Error: Could not convert string 'x' to INT32\n\n"
                       "LINE 1: CREATE TEMP VIEW sightline_answer(c0) AS SELECT 'x'::INT\n    ^"),
            "the text 'x' cannot be converted to INT32");
}

TEST(SqlErrorsTest, CutsLists) {
  EXPECT_EQ(InOurWords("Binder Error: No function matches the given name and argument types "
                       "'f(DATE)'. You might need to add explicit type casts.\n\tCandidate "
                       "functions:\n\tf(A)\n\tf(B)\n\tf(C)\n\tf(D)\n\tf(E)\n\n\n"
                       "LINE 1: select f(date)\n               ^"),
            "line 1, column 8: there is no function f(DATE): cast the arguments, for example "
            "x::BIGINT; there are: f(A), f(B), f(C), f(D), ...");
}

TEST(SqlErrorsTest, OtherTextsStay) {
  EXPECT_EQ(InOurWords("syntax error at or near \"FROM\""), "syntax error at or near \"FROM\"");
  EXPECT_EQ(InOurWords("Invalid Input Error: boom"), "boom");
  EXPECT_EQ(InOurWords("Binder Error: UNNEST() wants\nlists"), "UNNEST() wants, lists");
  for (const char* text : {"", "IO Error: Cannot open file \"x\"", "Out of Memory Error: no\nmore",
                           "the server stops"})
    EXPECT_EQ(InOurWords(text), text);
  for (const char* text : {"Binder Error: \nLINE ", "Binder Error: x\nLINE 1", "Parser Error: ",
                           "Binder Error: x\nLINE 1: \n", "Binder Error: \nLINE 1: a\n^"})
    EXPECT_EQ(InOurWords(text).find("LINE"), std::string::npos) << text;
}

}  // namespace
}  // namespace sightline
