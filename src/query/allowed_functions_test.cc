// The list of allowed functions against DuckDB's own catalogue: it names nothing that DuckDB lacks,
// whatever it does not name is refused, and no entry ends the process, whatever it is given.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "query/duck.h"
#include "query/duck_memory.h"
#include "query/parsed_sql.h"
#include "sql/sql_functions.h"

namespace sightline {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

struct Database {
  // The allocator is bounded before it is used, as in a server: what it took before would not
  // count.
  Database() {
    duck::BoundMemory(1LL << 30);
    database = duck::Open({{"threads", "1"},
                           {"memory_limit", "256MB"},
                           {"temp_directory", ""},
                           {"enable_external_access", "false"}})
                   .value();
    connection = duck::Connect(database).value();
  }
  duck::Database database;
  duck::Connection connection;
};

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// A row of duckdb_functions().
struct Overload {
  std::string kind;  // scalar, aggregate, macro, table, table_macro, pragma
  std::string name;  // in lower case
  std::vector<std::string> parameters;
};

std::vector<Overload> Catalogue(const Database& database) {
  const std::string rows =
      duck::QueryText(
          database.connection,
          "SELECT string_agg(DISTINCT concat(function_type, chr(9), lower(function_name), chr(9), "
          "array_to_string(list_transform(coalesce(parameter_types, parameters) || "
          "CASE WHEN varargs IS NULL THEN [] ELSE [varargs, varargs] END, lambda t: CASE WHEN "
          "function_type = 'macro' THEN 'ANY' ELSE coalesce(t, 'ANY') END), ';')), chr(10)) "
          "FROM duckdb_functions() WHERE ? = ''",
          "")
          .value();
  std::vector<Overload> overloads;
  for (const std::string& row : Split(rows, '\n')) {
    const std::vector<std::string> cells = Split(row, '\t');
    overloads.push_back({cells.at(0), cells.at(1), {}});
    if (cells.size() > 2) overloads.back().parameters = Split(cells[2], ';');
  }
  return overloads;
}

TEST(AllowedFunctions, AreAllInTheCatalogue) {
  const Database database;
  std::set<std::string> known;
  for (const Overload& overload : Catalogue(database)) {
    if (overload.kind != "pragma" && overload.kind != "table_macro") known.insert(overload.name);
  }
  std::set<std::string> seen;
  for (const FunctionFamily& family : FunctionFamilies()) {
    const std::vector<std::string> names = Split(family.functions, ' ');
    std::printf("%-24s %3zu functions\n", std::string(family.name).c_str(), names.size());
    EXPECT_FALSE(names.empty()) << family.name;
    EXPECT_TRUE(std::is_sorted(names.begin(), names.end())) << family.name;
    for (const std::string& name : names) {
      EXPECT_TRUE(known.contains(name)) << name;
      EXPECT_TRUE(seen.insert(name).second) << name << " is in two families";
      EXPECT_TRUE(IsFunctionAllowed(name)) << name;
    }
  }
  EXPECT_GT(seen.size(), 500u);
  EXPECT_TRUE(IsFunctionAllowed("Date_Trunc"));
}

TEST(AllowedFunctions, RefuseTheRestOfTheCatalogueByName) {
  const Database database;
  const SqlGuard guard = GuardFor(database.connection, {"item_counts"}).value();
  int refused = 0;
  for (const Overload& overload : Catalogue(database)) {
    const bool in_from = overload.kind.starts_with("table") || overload.kind == "pragma";
    if (in_from ? IsTableFunctionAllowed(overload.name) : IsFunctionAllowed(overload.name))
      continue;
    const std::string sql = fmt::format("{} \"{}\"(1)", in_from ? "FROM" : "SELECT", overload.name);
    const Result<CheckedSql> checked = ParseAndCheck(database.connection, guard, sql);
    ASSERT_FALSE(checked.ok()) << sql;
    EXPECT_THAT(checked.status().message(),
                HasSubstr(fmt::format("line 1, column {}: the function '{}' is not allowed",
                                      in_from ? 6 : 8, overload.name)));
    ++refused;
  }
  EXPECT_GT(refused, 400);
}

// The guard bounds the plans that macros make by this.
TEST(AllowedFunctions, CopiesOfArgumentsAreThoseOfTheMacros) {
  const Database database;
  const std::string rows =
      duck::QueryText(
          database.connection,
          "SELECT string_agg(lower(function_name) || ' ' || uses, chr(10)) FROM (SELECT "
          "function_name, max(len(regexp_extract_all(macro_definition, concat('\\b', parameter, "
          "'\\b')))) AS uses FROM (SELECT function_name, macro_definition, unnest(parameters) AS "
          "parameter FROM duckdb_functions() WHERE function_type = 'macro') GROUP BY "
          "function_name) "
          "WHERE ? = ''",
          "")
          .value();
  int twice = 0;
  for (const std::string& row : Split(rows, '\n')) {
    const std::vector<std::string> cells = Split(row, ' ');
    if (!IsFunctionAllowed(cells.at(0))) continue;
    const uint64_t uses = std::max<uint64_t>(std::stoull(cells.at(1)), 1);
    EXPECT_EQ(CopiesOfArguments(cells[0]), uses) << cells[0];
    twice += uses > 1 ? 1 : 0;
  }
  EXPECT_EQ(twice, 10);
}

TEST(AllowedFunctions, TypesOfTheCatalogue) {
  const Database database;
  const SqlGuard guard = GuardFor(database.connection, {"item_counts"}).value();
  const std::string rows = duck::QueryText(database.connection,
                                           "SELECT string_agg(DISTINCT lower(type_name), chr(10)) "
                                           "FROM duckdb_types() WHERE ? = ''",
                                           "")
                               .value();
  std::set<std::string> refused;
  for (const std::string& type : Split(rows, '\n')) {
    // These need arguments; guarded_query_test.cc has them.
    if (std::set<std::string>{"array", "enum", "list", "map", "row", "struct", "union"}.contains(
            type)) {
      continue;
    }
    const std::string sql = fmt::format("SELECT NULL::\"{}\"", type);
    if (!ParseAndCheck(database.connection, guard, sql).ok()) {
      refused.insert(type);
    } else {
      EXPECT_TRUE(duck::Execute(database.connection, sql).ok()) << sql;
    }
  }
  EXPECT_THAT(refused, testing::ElementsAre("geometry", "type", "variant"));
}

// Values of a type: the first is what one would expect, the others are not. What reads JSON gets
// deep JSON as text, too.
const std::vector<std::string>& Values(const std::string& type, bool reads_json) {
  // Deeper than any stack that recurses by it.
  static const std::string deep = "repeat('[', 300000) || repeat(']', 300000)";
  static const std::string deeper = "repeat('{\"a\":', 300000) || '1' || repeat('}', 300000)";
  static const std::vector<std::string> texts = {"'a1'", "''", "NULL", "repeat('%a', 2000)",
                                                 "repeat('[', 1000000)"};
  static const std::vector<std::string> json = {"'[1]'", "''", "NULL", deep, deeper};
  if (reads_json && type == "VARCHAR") return json;
  static const std::vector<std::string> counts = {"1",           "0",       "-1",  "2147483647",
                                                  "-2147483648", "1000000", "NULL"};
  static const std::vector<std::string> whole = {
      "1", "0", "-1", "9223372036854775807", "(-9223372036854775808)", "2000000000", "NULL"};
  static const std::vector<std::string> numbers = {"0.5",           "0",     "'inf'::DOUBLE",
                                                   "'nan'::DOUBLE", "1e308", "NULL"};
  static const std::vector<std::string> lists = {"[1, 2, 3]", "[]", "[NULL]", "range(30000)",
                                                 "NULL"};
  static const std::vector<std::string> anything = {
      "1", "'a'", "NULL", "[1, 2]", "{'a': 1}", "range(30000)", "repeat('[', 1000000)"};
  static const std::map<std::string, std::vector<std::string>, std::less<>> values = {
      {"VARCHAR", texts},
      {"INTEGER", counts},
      {"BIGINT", whole},
      {"DOUBLE", numbers},
      {"FLOAT", numbers},
      {"DECIMAL", {"1.5", "0.0", "99999999999999999999999999999999999999.0", "NULL"}},
      {"BOOLEAN", {"true", "false", "NULL"}},
      {"BLOB", {"'\\x00'::BLOB", "''::BLOB", "repeat('a', 1000000)::BLOB", "NULL"}},
      {"BIT", {"'101'::BIT", "repeat('1', 1000000)::BIT", "NULL"}},
      {"DATE",
       {"DATE '2026-01-01'", "'infinity'::DATE", "'-infinity'::DATE", "'5877642-06-25 (BC)'::DATE",
        "'5881580-07-10'::DATE", "NULL"}},
      {"TIMESTAMP",
       {"TIMESTAMP '2026-01-01'", "'infinity'::TIMESTAMP", "'-infinity'::TIMESTAMP",
        "'290309-12-22 (BC)'::TIMESTAMP", "'294247-01-10 04:00:54'::TIMESTAMP", "NULL"}},
      {"TIMESTAMP WITH TIME ZONE",
       {"TIMESTAMPTZ '2026-01-01'", "'infinity'::TIMESTAMPTZ", "'-infinity'::TIMESTAMPTZ",
        "'290309-12-22 (BC)'::TIMESTAMPTZ", "'294247-01-10 04:00:54'::TIMESTAMPTZ", "NULL"}},
      {"TIMESTAMP_S", {"'2026-01-01'::TIMESTAMP_S", "'infinity'::TIMESTAMP_S", "NULL"}},
      {"TIMESTAMP_MS", {"'2026-01-01'::TIMESTAMP_MS", "'infinity'::TIMESTAMP_MS", "NULL"}},
      {"TIMESTAMP_NS", {"'2026-01-01'::TIMESTAMP_NS", "'infinity'::TIMESTAMP_NS", "NULL"}},
      {"TIME", {"TIME '10:00:00'", "TIME '24:00:00'", "NULL"}},
      {"TIME_NS", {"'10:00:00'::TIME_NS", "NULL"}},
      {"TIME WITH TIME ZONE", {"TIMETZ '10:00:00+00'", "NULL"}},
      {"INTERVAL",
       {"INTERVAL 1 DAY", "INTERVAL 0 DAY", "INTERVAL 2147483647 DAY", "INTERVAL 1 MICROSECOND",
        "to_months(-2147483648)", "NULL"}},
      {"UUID", {"uuid()", "NULL"}},
      {"JSON",
       {"'{\"a\": [1]}'::JSON", fmt::format("({})::JSON", deep), fmt::format("({})::JSON", deeper),
        "NULL"}},
      {"LIST", lists},
      {"VARCHAR[]", {"['a']", "[]", "[repeat('a', 1000000)]", "range(30000)::VARCHAR[]", "NULL"}},
      {"FLOAT[]", {"[0.5]", "[]", "['inf'::FLOAT]", "NULL"}},
      {"DOUBLE[]", {"[0.5]", "[]", "['inf'::DOUBLE]", "NULL"}},
      {"ARRAY", {"[1.0, 2.0, 3.0]::FLOAT[3]", "['inf', 'nan', '0']::FLOAT[3]", "NULL"}},
      {"STRUCT", {"{'a': 1}", "{'a': range(30000)}", "NULL"}},
      {"MAP", {"MAP {'a': 1}", "MAP {}", "MAP {repeat('a', 1000000): NULL}", "NULL"}},
      {"UNION", {"union_value(a := 1)", "NULL"}},
      {"LAMBDA", {"lambda x: x", "lambda x: repeat('a', 100000)", "lambda x: x IS NULL"}},
      {"ANY", anything}};
  const auto exactly = values.find(type);
  if (exactly != values.end()) return exactly->second;
  for (const char* family : {"DECIMAL", "MAP", "STRUCT", "UNION"}) {
    if (type.starts_with(family)) return values.find(family)->second;
  }
  if (type.ends_with("INT") || type == "UINTEGER" || type == "BIGNUM") return counts;
  if (type.ends_with("[]")) return lists;
  if (type.ends_with(']')) return values.find("ARRAY")->second;
  return anything;
}

std::string Call(const Overload& function, const std::vector<std::string>& arguments) {
  const std::string& name = function.name;
  const bool is_word = name[0] == '_' || (name[0] >= 'a' && name[0] <= 'z');
  if (name == "!__postfix") return fmt::format("({})!", arguments.at(0));
  if (is_word) return fmt::format("\"{}\"({})", name, fmt::join(arguments, ", "));
  if (arguments.size() == 1) return fmt::format("{} ({})", name, arguments[0]);
  return fmt::format("({}) {} ({})", arguments.at(0), name, arguments.at(1));
}

// What the generated calls cannot say.
const std::multimap<std::string, std::string>& WrittenCalls() {
  static const std::multimap<std::string, std::string> calls = {
      {"struct_concat", "SELECT struct_concat({'a': 1}, {'b': 2})"},
      {"struct_insert", "SELECT struct_insert({'a': 1}, b := 2)"},
      {"struct_pack", "SELECT struct_pack(a := 1)"},
      {"struct_update", "SELECT struct_update({'a': 1}, a := 2)"},
      {"union_value", "SELECT union_value(a := 1)"},
      {"split_part", "SELECT split_part('a,b', ',', 1)"},
      {"regexp_split_to_table", "SELECT regexp_split_to_table('a b', ' ')"},
      {"enum_code", "SELECT enum_code('a'::ENUM('a', 'b'))"},
      {"enum_first", "SELECT enum_first(NULL::ENUM('a', 'b'))"},
      {"enum_last", "SELECT enum_last(NULL::ENUM('a', 'b'))"},
      {"enum_range", "SELECT enum_range(NULL::ENUM('a', 'b'))"},
      {"enum_range_boundary", "SELECT enum_range_boundary('a'::ENUM('a', 'b'), NULL)"},
      {"array_to_string", "SELECT array_to_string(['a', 'b'], ',')"},
      {"map_concat", "SELECT map_concat(MAP {'a': 1}, MAP {'b': 2})"},
      {"unnest", "SELECT unnest([1, 2])"},
      {"unnest", "SELECT unnest(range(3000000))"},
      {"error", "SELECT CASE WHEN random() < 2 THEN 1 ELSE error('x') END"},
      {"printf", "SELECT printf('%2000000000d', 1)"},
      {"printf", "SELECT printf('%.2000000000f', 1.0::DOUBLE)"},
      {"format", "SELECT format('{:2000000000}', 1)"},
      {"strftime", "SELECT strftime(TIMESTAMP '2026-01-01', repeat('%c', 100000))"},
      {"regexp_matches", "SELECT regexp_matches('a', repeat('(', 100000) || repeat(')', 100000))"},
      {"regexp_matches", "SELECT regexp_matches('a', '((a{1,100}){1,10}){1,10}')"},
      {"bitstring", "SELECT bitstring('1', 2000000000)"},
      {"bitstring_agg", "SELECT bitstring_agg(x, -2000000000, 2000000000) FROM range(3) t(x)"},
      {"string_agg", "SELECT string_agg(repeat('a', 1000), '') FROM range(30000)"},
      {"json_extract", "SELECT json_extract(repeat('[', 1000000) || repeat(']', 1000000), '$..*')"},
      {"json_group_object", "SELECT json_group_object(x, x) FROM range(30000) t(x)"},
      {"replace", "SELECT replace(repeat('a', 100000), 'a', repeat('b', 100000))"}};
  return calls;
}

// The calls of one overload: as expected; each argument in turn as unexpected as can be, unless
// many overloads take the same; and all of them together.
void AddCalls(const Overload& overload, bool is_one_of_many, bool reads_json,
              std::vector<std::string>& calls) {
  std::vector<std::vector<std::string>> choices;
  std::vector<std::string> expected, last;
  for (const std::string& parameter : overload.parameters) {
    choices.push_back(Values(parameter, reads_json));
    expected.push_back(choices.back().front());
    last.push_back(choices.back().back());
  }
  std::vector<std::vector<std::string>> arguments = {expected};
  for (size_t i = 0; i < choices.size() && !is_one_of_many; ++i) {
    for (size_t j = 1; j < choices[i].size(); ++j) {
      arguments.push_back(expected);
      arguments.back()[i] = choices[i][j];
    }
  }
  arguments.push_back(last);
  arguments.push_back(expected);
  for (size_t i = 0; i < choices.size(); ++i) {
    arguments.back()[i] = choices[i][std::min<size_t>(3, choices[i].size() - 1)];
  }
  for (const std::vector<std::string>& chosen : arguments) {
    const std::string call = Call(overload, chosen);
    if (overload.kind == "aggregate") {
      calls.push_back(fmt::format("SELECT {} FROM range(3)", call));
      if (chosen == expected) {
        calls.push_back(fmt::format("SELECT {} OVER (ORDER BY range) FROM range(3)", call));
      }
    } else {
      calls.push_back("SELECT " + call);
    }
  }
}

struct CallOutcome {
  std::vector<bool> answered;        // for each call
  std::vector<std::string> killed;   // by the limits of time or memory
  std::vector<std::string> crashed;  // the process, or its database, ended in any other way
};

constexpr rlim_t kAddressesMax = 3ULL << 30;

// In the child: gives the next call a quarter of a second of the processor, however busy the
// machine is.
void LimitTheNextCall() {
  const itimerval limit{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_usec = 250'000}};
  CHECK(setitimer(ITIMER_PROF, &limit, nullptr) == 0);
}

// In the child: runs the calls from `first` on, and reports each start and each answer.
[[noreturn]] void RunCalls(const std::vector<std::string>& calls, size_t first, int report) {
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
#ifndef SIGHTLINE_SANITIZED  // whose shadow takes terabytes of addresses
  const rlimit addresses{kAddressesMax, kAddressesMax};
  setrlimit(RLIMIT_AS, &addresses);
#endif
  const Database database;
  for (size_t i = first; i < calls.size(); ++i) {
    LimitTheNextCall();
    if (write(report, "s", 1) != 1) _exit(2);
    const Status answer = duck::Execute(database.connection, calls[i]);
    // After such an error DuckDB refuses every question until the database is opened again.
    if (answer.message().starts_with("INTERNAL") || answer.message().starts_with("FATAL")) _exit(3);
    if (answer.ok() && write(report, "a", 1) != 1) _exit(2);
  }
  _exit(0);
}

// Starts a child that runs the calls from `first` on, and takes its reports. Returns its status.
int RunChild(const std::vector<std::string>& calls, size_t first, size_t& started,
             std::vector<bool>& answered) {
  int ends[2];
  CHECK(pipe(ends) == 0);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    close(ends[0]);
    RunCalls(calls, first, ends[1]);
  }
  close(ends[1]);
  char buffer[4096];
  started = 0;
  for (ssize_t bytes = 1; bytes > 0;) {
    bytes = read(ends[0], buffer, sizeof(buffer));
    for (ssize_t i = 0; i < bytes; ++i) {
      if (buffer[i] == 's') ++started;
      if (buffer[i] == 'a') answered[first + started - 1] = true;
    }
  }
  close(ends[0]);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  return status;
}

// Runs the calls in processes of their own: a new one after each that ends before its time.
CallOutcome RunApart(const std::vector<std::string>& calls) {
  CallOutcome outcome{.answered = std::vector<bool>(calls.size())};
  for (size_t next = 0; next < calls.size();) {
    size_t started = 0;
    const int status = RunChild(calls, next, started, outcome.answered);
    next += started;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) break;
    CHECK(started > 0);
    const bool is_ours =
        WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGPROF);
    (is_ours ? outcome.killed : outcome.crashed).push_back(calls[next - 1]);
  }
  return outcome;
}

// arg_min and its siblings have hundreds of overloads.
constexpr ptrdiff_t kManyOverloads = 30;

std::vector<std::string> CallsOf(const std::string& name, const std::vector<Overload>& catalogue) {
  std::vector<std::string> calls;
  const auto is_call = [&](const Overload& overload) {
    return overload.name == name &&
           (overload.kind == "scalar" || overload.kind == "aggregate" || overload.kind == "macro");
  };
  const bool are_many = std::count_if(catalogue.begin(), catalogue.end(), is_call) > kManyOverloads;
  for (const Overload& overload : catalogue) {
    if (is_call(overload)) AddCalls(overload, are_many, name.starts_with("json"), calls);
  }
  const auto [first, end] = WrittenCalls().equal_range(name);
  for (auto written = first; written != end; ++written) calls.push_back(written->second);
  std::sort(calls.begin(), calls.end());
  calls.erase(std::unique(calls.begin(), calls.end()), calls.end());
  return calls;
}

TEST(AllowedFunctions, NoneEndsTheProcess) {
  const std::vector<Overload> catalogue = Catalogue(Database());
  for (const FunctionFamily& family : FunctionFamilies()) {
    std::vector<std::string> calls;
    std::vector<std::pair<std::string, size_t>> entries;  // and where its calls end
    for (const std::string& name : Split(family.functions, ' ')) {
      for (std::string& call : CallsOf(name, catalogue)) calls.push_back(std::move(call));
      entries.emplace_back(name, calls.size());
    }
    const CallOutcome outcome = RunApart(calls);
    EXPECT_THAT(outcome.crashed, IsEmpty()) << family.name;
    size_t begin = 0;
    for (const auto& [name, end] : entries) {
      const bool has_answer =
          std::find(outcome.answered.begin() + static_cast<ptrdiff_t>(begin),
                    outcome.answered.begin() + static_cast<ptrdiff_t>(end),
                    true) != outcome.answered.begin() + static_cast<ptrdiff_t>(end);
      EXPECT_TRUE(has_answer) << name << ": no call of it has an answer";
      begin = end;
    }
    std::printf(
        "%-24s %4zu calls, %4zu answers, %2zu ended by the limits\n",
        std::string(family.name).c_str(), calls.size(),
        static_cast<size_t>(std::count(outcome.answered.begin(), outcome.answered.end(), true)),
        outcome.killed.size());
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace sightline
