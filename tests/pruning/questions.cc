#include "questions.h"

#include <fmt/format.h>

#include <array>
#include <random>
#include <span>
#include <string_view>
#include <vector>

namespace sightline::pruning {
namespace {

using Texts = std::span<const char* const>;

// How a location may be written, with "{}" for its digits: the plainest first, and what once was
// wrong more than once.
constexpr const char* kOidForms[] = {"{}",
                                     "'{}'",
                                     "({})",
                                     "{}.0",
                                     "{}.4",
                                     "{}e0",
                                     "' {}'",
                                     "'{} '",
                                     "'{}.0'",
                                     "'{}.4'",
                                     "'{}e0'",
                                     "'0{}'",
                                     "'+{}'",
                                     "{} + 0",
                                     "{}::BIGINT",
                                     "{}::DOUBLE",
                                     "{}::HUGEINT",
                                     "{}::VARCHAR",
                                     "CAST('{}' AS BIGINT)",
                                     "TRY_CAST('{}.0' AS BIGINT)",
                                     "'{}' COLLATE NOCASE",
                                     "abs({})",
                                     "- {}",
                                     "NULL",
                                     "true",
                                     "9223372036854775808",
                                     "18446744073709551615",
                                     "'9223372036854775807'",
                                     "{}.0",
                                     "{}.0",
                                     "{}.0",
                                     "'{}'"};
// How a day may be written.
constexpr const char* kDayForms[] = {"'{}'",
                                     "DATE '{}'",
                                     "CAST('{}' AS DATE)",
                                     "TRY_CAST('{}' AS DATE)",
                                     "'{} (BC)'",
                                     "' {}'",
                                     "'{} '",
                                     "'{}x'",
                                     "'1{}'",
                                     "'{} 12:00:00'",
                                     "'{}T00:00:00Z'",
                                     "'{} 23:00:00-05'",
                                     "DATE '{} 23:59:59-05'",
                                     "DATE '{} (BC)'",
                                     "TIMESTAMP '{}'",
                                     "TIMESTAMP '{} 12:00:00'",
                                     "TIMESTAMPTZ '{} 23:00:00-05'",
                                     "'{} 23:00:00'::TIMESTAMP::DATE",
                                     "DATE '{}' + 1",
                                     "DATE '{}' - INTERVAL 1 DAY",
                                     "'{}' COLLATE NOCASE",
                                     "'2026-1-1'",
                                     "'infinity'",
                                     "'-infinity'",
                                     "'epoch'",
                                     "NULL",
                                     "'{} (BC)'",
                                     "'{} (BC)'",
                                     "'{} (BC)'",
                                     "DATE '{}'",
                                     "DATE '{}'"};
// How a time may be written.
constexpr const char* kTimeForms[] = {"'{}'",
                                      "'{} 00:00:00'",
                                      "'{} 12:00:00'",
                                      "'{} 23:59'",
                                      "'{}T08:00:00Z'",
                                      "'{} 23:00:00-05'",
                                      "'{} 01:00:00+09:30'",
                                      "'{} 00:00:00+15:59'",
                                      "TIMESTAMP '{} 12:00:00'",
                                      "TIMESTAMP '{} 23:00:00-05'",
                                      "TIMESTAMPTZ '{}'",
                                      "TIMESTAMPTZ '{} 23:30:00-01'",
                                      "DATE '{}'",
                                      "DATE '{} 23:59:59-05'",
                                      "'{} 24:00:00'",
                                      "'{} 23:59:59.999999'",
                                      "'{} 23:59:59.9999999'",
                                      "'{} 00:00:00+99'",
                                      "'{} 00:00:00+15:75'",
                                      "'{} 12:00:00 Europe/Berlin'",
                                      "'{} 12:00:00 UTC'",
                                      "TIMESTAMP '{} 02:00:00' AT TIME ZONE 'Asia/Tokyo'",
                                      "TIMESTAMPTZ '{}' + INTERVAL 1 DAY",
                                      "'{} 1:00:00'",
                                      "'{} (BC)'",
                                      "' {}'",
                                      "'1{}'",
                                      "'infinity'",
                                      "'-infinity'",
                                      "'epoch'",
                                      "NULL",
                                      "'{} 24:00:00'",
                                      "'{} 00:00:00+99'"};

constexpr const char* kOid = "geographical_location_oid";

// A view, and what a question may say of its rows.
struct View {
  const char* name;
  std::vector<const char*> columns;  // from which a bound may come
  const char* number;                // a column to add up
  const char* text;                  // a column that takes part in the fingerprint
};
const std::array<View, 4> kViews = {
    View{"item_counts", {kOid, "date", "window_start"}, "item_count", "item_name"},
    View{"item_count_increments", {kOid, "date", "window_start"}, "item_count", "item_name"},
    View{"ledger", {kOid, "append_hour"}, "received", "source_partition"},
    View{"locations", {kOid}, "geographical_location_oid", "geographical_location"}};

// A table in FROM: the view that it comes from, and its name in the rest of the question.
struct Table {
  const View* view;
  std::string name;
};

class Asker {
 public:
  Asker(uint64_t seed, uint64_t number) {
    std::seed_seq mixed{seed, seed >> 32, number, number >> 32};
    random_.seed(mixed);
  }

  Question Ask() {
    Statement();
    return std::move(question_);
  }

 private:
  uint32_t Below(size_t n) { return static_cast<uint32_t>(random_() % n); }
  bool Chance(uint32_t percent) { return Below(100) < percent; }
  std::string_view Pick(Texts texts) { return texts[Below(texts.size())]; }
  template <typename... T>
  std::string_view OneOf(T... texts) {
    const std::array<const char*, sizeof...(T)> all{texts...};
    return Pick(all);
  }
  const View& CountView() { return kViews[Below(2)]; }

  void Say(std::string_view text) {
    question_.sql += text;
    question_.disguised += text;
  }

  // A column in a condition.
  void Column(const Table& table, std::string_view column) {
    std::string name(column);
    if (Chance(5)) name = fmt::format("\"{}\"", column);
    if (Chance(5)) name[0] = static_cast<char>(std::toupper(name[0]));
    if (!table.name.empty()) name = fmt::format("{}.{}", table.name, name);
    question_.sql += name;
    const bool is_time = column == "window_start" || column == "append_hour";
    question_.disguised += fmt::format("({} + {})", name, is_time ? "INTERVAL 0 SECOND" : "0");
  }

  // The value in one of `forms`, of which the first is the plainest. "0-7" is an error: which way
  // meets it depends on what DuckDB has left out before.
  std::string Written(Texts forms, const std::string& value) {
    std::string text(Chance(50) ? forms[0] : Pick(forms));
    if (value[0] == '-' && (text == "'0{}'" || text == "'+{}'")) text = forms[0];
    if (const size_t at = text.find("{}"); at != std::string::npos) text.replace(at, 2, value);
    return text;
  }
  std::string Constant(std::string_view column) {
    if (column == kOid)
      return Written(kOidForms, fmt::format("{}", kOids[Below(std::size(kOids))]));
    const std::string day = kDays[Below(std::size(kDays))];
    return column == "date" ? Written(kDayForms, day) : Written(kTimeForms, day);
  }

  void Comparison(const Table& table) {
    const std::string_view column = table.view->columns[Below(table.view->columns.size())];
    const uint32_t kind = Below(100);
    if (kind < 10) {
      Say(Constant(column));
      Say(OneOf(" = ", " = ", " < ", " <= ", " > ", " >= "));
      Column(table, column);
      return;
    }
    Column(table, column);
    if (kind < 50) {
      Say(column == kOid ? " = " : OneOf(" = ", " < ", " <= ", " > ", " >= "));
      Say(Constant(column));
    } else if (kind < 70) {
      Say(Chance(85) ? " IN (" : " NOT IN (");
      const uint32_t constants = 1 + Below(3);
      for (uint32_t i = 0; i < constants; ++i) Say((i == 0 ? "" : ", ") + Constant(column));
      Say(")");
    } else if (kind < 85) {
      Say((Chance(85) ? " BETWEEN " : " NOT BETWEEN ") + Constant(column) + " AND " +
          Constant(column));
    } else {
      Say(OneOf(" <> ", " < ", " >= ", " IS NOT DISTINCT FROM ", " IS DISTINCT FROM "));
      Say(Constant(column));
    }
  }

  // A condition on a column that no bound comes from, or a form of which no bound may be made.
  void Odd(const Table& table) {
    const std::string_view column = table.view->columns[Below(table.view->columns.size())];
    switch (Below(6)) {
      case 0:
        Column(table, column);
        Say("::VARCHAR LIKE '%7%'");
        return;
      case 1:
        Say("coalesce(");
        Column(table, column);
        Say(") = " + Constant(column));
        return;
      case 2:
        Say("(");
        Column(table, column);
        Say(", 1) = (" + Constant(column) + ", 1)");
        return;
      case 3:
        Column(table, column);
        Say(" IN (SELECT ");
        Say(column);
        Say(fmt::format(" FROM {} WHERE ", table.view->name));
        Comparison({table.view, ""});
        Say(")");
        return;
      case 4:
        Column(table, column);
        Say(Chance(50) ? " IS NOT NULL" : " IS NULL");
        return;
      default:
        Say("EXISTS (FROM item_counts inner_counts WHERE inner_counts.geographical_location_oid "
            "= ");
        Column(table, kOid);
        Say(" AND ");
        Comparison({&kViews[0], Chance(70) ? "inner_counts" : ""});
        Say(")");
    }
  }

  void Condition(const std::vector<Table>& tables, int depth) {
    Table table = tables[Below(tables.size())];
    if (Chance(tables.size() == 1 ? 60 : 10)) table.name.clear();
    const uint32_t kind = Below(100);
    if (depth == 0 || kind < 75) {
      Comparison(table);
    } else if (kind < 82) {
      Odd(table);
    } else if (kind < 96) {
      Say(kind < 84 ? "NOT (" : "(");
      Condition(tables, depth - 1);
      Say(kind < 90 ? " AND " : " OR ");
      Condition(tables, depth - 1);
      Say(")");
    } else {
      Say("CASE WHEN ");
      Condition(tables, depth - 1);
      Say(" THEN ");
      Condition(tables, depth - 1);
      Say(" ELSE true END");
    }
  }

  void Where(const std::vector<Table>& tables) {
    if (Chance(4)) return;
    const uint32_t conditions = Chance(60) ? 1 : 2;
    for (uint32_t i = 0; i < conditions; ++i) {
      Say(i == 0 ? " WHERE " : " AND ");
      Condition(tables, 2);
    }
  }

  // What there is to see of the rows: how many, and a sum over each of them. Nothing of no rows.
  void Fingerprint(const std::vector<Table>& tables) {
    Say("SELECT count(*) AS n");
    for (const Table& table : tables) {
      const std::string dot = table.name.empty() ? "" : table.name + ".";
      Say(fmt::format(", sum({}{})::BIGINT AS s, sum(hash({}{}", dot, table.view->number, dot,
                      table.view->text));
      for (const char* column : table.view->columns) Say(fmt::format(", {}{}", dot, column));
      Say(") % 1000003)::BIGINT AS h");
    }
  }

  // Names a table in FROM, sometimes by what is not its own name, or is a column's.
  Table Named(const View& view, std::string_view usual) {
    const uint32_t kind = Below(100);
    if (kind < 55) {
      Say(fmt::format("{} {}", view.name, usual));
      return {&view, std::string(usual)};
    }
    if (kind < 80) {
      Say(view.name);
      return {&view, view.name};
    }
    if (kind < 84) {
      Say(fmt::format("{} AS date", view.name));
      return {&view, "date"};
    }
    if (kind < 88 && view.columns.size() == 3) {  // columns that change their names
      Say(fmt::format("(SELECT {0}, date + 1 AS date, window_start, item_name, item_count FROM {1}",
                      kOid, view.name));
      Where({{&view, ""}});
      Say(fmt::format(") {}", usual));
      return {&view, std::string(usual)};
    }
    if (kind < 92 && view.columns.size() == 3) {  // the count has the location's name
      const bool is_sum = &view == kViews.data();
      Say(fmt::format("{} {}(item_count, {}, item_name, window_start, window_end, {})", view.name,
                      usual, is_sum ? "geographical_location, date" : "date, geographical_location",
                      kOid));
      return {&view, std::string(usual)};
    }
    Say(fmt::format("(SELECT * FROM {}", view.name));
    Where({{&view, ""}});
    Say(fmt::format(") {}", usual));
    return {&view, std::string(usual)};
  }

  void OneTable() {
    const View& view = Chance(70) ? CountView() : kViews[2];
    const bool rows = Chance(30);
    if (rows) {
      Say("SELECT ");
      Say(view.columns.size() == 3
              ? OneOf("*", "geographical_location_oid, date, item_count",
                      "DATE '2026-01-01' AS date, item_name",
                      "7 AS geographical_location_oid, item_count",
                      "TIMESTAMPTZ '2026-01-01' AS window_start, item_count")
              : OneOf("*", "append_hour, received", "7 AS geographical_location_oid, received"));
    } else {
      Fingerprint({{&view, ""}});
    }
    if (view.columns.size() == 2 && !rows && Chance(20)) Say(", count(lost) AS l");
    Say(" FROM ");
    const Table table = Named(view, "c");
    Where({table});
    if (!rows) Say(" HAVING count(*) > 0");
  }

  void On(const Table& a, const Table& b) {
    if (Chance(40)) {
      Say(fmt::format(" USING ({})", kOid));
      return;
    }
    Say(fmt::format(" ON {0}.{2} = {1}.{2}", a.name, b.name, kOid));
    if (a.view->columns.size() == 3 && b.view->columns.size() == 3)
      Say(fmt::format(" AND {}.date {} {}.date", a.name, OneOf("=", "<=", ">"), b.name));
    if (Chance(30)) {
      Say(" AND ");
      Comparison(Chance(50) ? a : b);
    }
  }

  // The heads of joins know the names of tables only after they have been said, so the SELECT list
  // comes last, as DuckDB allows: FROM ... SELECT.
  void Joined() {
    Say("FROM ");
    const Table a = Named(Chance(70) ? CountView() : kViews[2 + Below(2)], "a");
    const std::string_view join =
        OneOf(" JOIN ", " JOIN ", " LEFT JOIN ", " LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN ",
              " SEMI JOIN ", " ANTI JOIN ", " CROSS JOIN ", ", ", " NATURAL JOIN ");
    Say(join);
    const Table b = Named(Chance(60) ? CountView() : kViews[2 + Below(2)], Chance(4) ? "a" : "b");
    const bool crossed = join == " CROSS JOIN " || join == ", " || join == " NATURAL JOIN ";
    if (!crossed) On(a, b);
    if (crossed && Chance(20)) Say(", range(2)");
    std::vector<Table> seen{a};
    if (join != " SEMI JOIN " && join != " ANTI JOIN ") seen.push_back(b);
    Say(" ");
    Fingerprint(seen);
    Where(seen);
    Say(" HAVING count(*) > 0");
  }

  // Of two views, because what is read twice is read for both.
  void AsOf() {
    Say("FROM ");
    const uint32_t left = Below(2);
    const Table a = Named(kViews[left], "a");
    // Not RIGHT and FULL: with nothing on the left, DuckDB 1.5.6 waits forever and cannot be
    // stopped.
    Say(OneOf(" ASOF JOIN ", " ASOF LEFT JOIN "));
    const Table b = Named(kViews[0], "b");
    Say(
        fmt::format(" ON {0}.{2} = {1}.{2} AND {0}.item_name = {1}.item_name AND {0}.window_start "
                    "{3} {1}.window_start ",
                    a.name, b.name, kOid, OneOf(">", "<", ">=")));
    Fingerprint({a, b});
    Where({a, b});
    Say(" HAVING count(*) > 0");
  }

  void With() {
    const View& view = CountView();
    const bool shadows = Chance(50);
    Say(fmt::format("WITH {} AS {}(SELECT {}, item_name, window_start, item_count, date {} FROM {}",
                    shadows ? view.name : "w", OneOf("", "MATERIALIZED "), kOid,
                    OneOf("", "+ 1 AS date", "- 1 AS date"), view.name));
    Where({{&view, ""}});
    Say(") ");
    Fingerprint({{&view, ""}});
    Say(fmt::format(" FROM {}", shadows ? view.name : "w"));
    Where({{&view, ""}});
    Say(" HAVING count(*) > 0");
  }

  void Correlated() {
    const Table outer{&CountView(), "c"};
    Say("SELECT ");
    if (Chance(50)) {
      // `c` in the inner WHERE is the outer table, because a semi or anti join hides its right
      // side.
      Say(fmt::format("(SELECT count(*) FROM locations {} JOIN item_counts {} USING ({}) WHERE ",
                      OneOf("ANTI", "SEMI"), OneOf("c", "d"), kOid));
      Comparison(outer);
    } else {
      const Table inner{&kViews[Below(4)], "d"};
      Say(fmt::format("(SELECT count(*) FROM {} d WHERE d.{} = c.{} AND ", inner.view->name, kOid,
                      kOid));
      Condition({inner, outer}, 1);
    }
    Say(fmt::format(") AS k, count(*) AS n FROM {} c", outer.view->name));
    Where({outer});
    Say(" GROUP BY k");
  }

  void Lateral() {
    const Table a{&CountView(), "a"}, b{&kViews[1 + Below(2)], "b"};
    Say("FROM ");
    Say(fmt::format("{} a, LATERAL (SELECT count(*) AS k FROM {} b WHERE b.{} = a.{} AND ",
                    a.view->name, b.view->name, kOid, kOid));
    Condition({b}, 1);
    Say(") s SELECT sum(k)::BIGINT AS k, count(*) AS n");
    Where({a});
    Say(" HAVING count(*) > 0");
  }

  void Statement() {
    const uint32_t kind = Below(100);
    if (kind < 42) {
      OneTable();
    } else if (kind < 65) {
      Joined();
    } else if (kind < 77) {
      AsOf();
    } else if (kind < 87) {
      With();
    } else if (kind < 92) {
      Correlated();
    } else if (kind < 95) {
      Lateral();
    } else {
      const View& view = CountView();
      for (const std::string_view between : {"", " UNION ALL ", " EXCEPT "}) {
        Say(between);
        Fingerprint({{&view, ""}});
        Say(fmt::format(" FROM {}", view.name));
        Where({{&view, ""}});
        Say(" HAVING count(*) > 0");
      }
    }
  }

  std::mt19937_64 random_;
  Question question_;
};

}  // namespace

Question Ask(uint64_t seed, uint64_t number) { return Asker(seed, number).Ask(); }

}  // namespace sightline::pruning
