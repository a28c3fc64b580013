#include "sql/sql_functions.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <set>
#include <tuple>
#include <vector>

#include "sql/calendar.h"

namespace sightline {
namespace {

// What is not here, and why:
// - It reveals settings, paths, the catalogue, other questions or the environment: current_setting,
//   getvariable, getenv, current_query, version, json_serialize_sql, json_serialize_plan, stats,
//   txid_current, has_..._privilege, inet_..., pg_... .
// - It waits, writes, or keeps something in the connection: sleep_ms, pg_sleep, write_log, nextval,
//   setseed.
// - It recurses once for each level of a value, so deep JSON ends the process: json_structure,
//   json_group_structure, json_contains, json_merge_patch, json_transform, from_json, and whatever
//   takes a VARIANT.
// - It ends the database: reservoir_quantile with a large sample makes DuckDB refuse every question
//   until the database is opened again.
// - Only DuckDB itself calls it: __internal_..., icu_collate_... (write COLLATE), create_sort_key,
//   combine, finalize, remap_struct, constant_or_null, sum_no_overflow, unpivot_list.
// - It makes or takes types as values, with which any cast could be written: make_type,
//   cast_to_type, get_type, replace_type. Geometry: our views have none.
constexpr std::array kFamilies = {
    // The parser turns operators into calls of functions.
    FunctionFamily{"operators",
                   "!__postfix !~~ !~~* % & && * ** + - ->> / // <-> << <=> <@ >> @ @> ^ ^@ add "
                   "divide mod multiply subtract xor | || ~ ~~ ~~* ~~~"},
    // Each computes one number from numbers.
    FunctionFamily{"mathematics",
                   "abs acos acosh asin asinh atan atan2 atanh cbrt ceil ceiling cos cosh cot "
                   "degrees even exp factorial fdiv floor fmod gamma gcd greatest "
                   "greatest_common_divisor isfinite isinf isnan lcm least least_common_multiple "
                   "lgamma ln log log10 log2 nextafter pi pow power radians random round "
                   "round_even roundbankers sign signbit sin sinh sqrt tan tanh trunc"},
    // They compute text from text. Some make long texts (repeat, lpad, printf, replace): the memory
    // of a question is bounded from outside. parse_path and its siblings read no files.
    FunctionFamily{
        "text",
        "array_to_string ascii bar base64 bin char_length character_length chr concat concat_ws "
        "contains decode encode ends_with format format_bytes formatreadabledecimalsize "
        "formatreadablesize from_base64 from_binary from_hex hex ilike_escape instr lcase left "
        "left_grapheme len length length_grapheme like_escape lower lpad ltrim nfc_normalize "
        "not_ilike_escape not_like_escape octet_length ord parse_dirname parse_dirpath "
        "parse_filename parse_formatted_bytes parse_path pg_size_pretty position prefix printf "
        "repeat replace reverse right right_grapheme rpad rtrim split split_part starts_with "
        "str_split string_split string_to_array strip_accents strlen strpos substr substring "
        "substring_grapheme suffix to_base to_base64 to_binary to_hex translate trim ucase unbin "
        "unhex unicode upper url_decode url_encode"},
    // RE2 runs in time linear in the text.
    FunctionFamily{"regular expressions",
                   "regexp_escape regexp_extract regexp_extract_all regexp_full_match "
                   "regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table "
                   "str_split_regex string_split_regex"},
    // Names of items are written by people and by detectors, with typing errors.
    FunctionFamily{"likeness of texts",
                   "damerau_levenshtein editdist3 hamming jaccard jaro_similarity "
                   "jaro_winkler_similarity levenshtein mismatches"},
    // Counts are over time. now() and its siblings say the time of the question.
    FunctionFamily{
        "dates and times",
        "age ago century current_date current_localtime current_localtimestamp date_add date_diff "
        "date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth "
        "dayofweek dayofyear days_in_month decade epoch epoch_ms epoch_ns epoch_us era "
        "get_current_time get_current_timestamp hour isodow isoyear julian last_day make_date "
        "make_time make_timestamp make_timestamp_ms make_timestamp_ns make_timestamptz microsecond "
        "millennium millisecond minute month monthname nanosecond normalized_interval now quarter "
        "second strftime strptime time_bucket timezone timezone_hour timezone_minute to_centuries "
        "to_days to_decades to_hours to_microseconds to_millennia to_milliseconds to_minutes "
        "to_months to_quarters to_seconds to_timestamp to_weeks to_years today "
        "transaction_timestamp try_strptime week weekday weekofyear year yearweek"},
    // They compute lists from lists. Each also has a name that begins with array_.
    FunctionFamily{
        "lists",
        "aggregate apply array_aggr array_aggregate array_append array_apply array_cat "
        "array_concat array_contains array_distinct array_extract array_filter array_grade_up "
        "array_has array_has_all array_has_any array_indexof array_intersect array_length "
        "array_pop_back array_pop_front array_position array_prepend array_push_back "
        "array_push_front array_reduce array_resize array_reverse array_reverse_sort array_select "
        "array_slice array_sort array_transform array_unique array_value array_where array_zip "
        "filter flatten generate_series generate_subscripts grade_up list_aggr list_aggregate "
        "list_any_value list_append list_apply list_approx_count_distinct list_avg list_bit_and "
        "list_bit_or list_bit_xor list_bool_and list_bool_or list_cat list_concat list_contains "
        "list_count list_distinct list_element list_entropy list_extract list_filter list_first "
        "list_grade_up list_has list_has_all list_has_any list_histogram list_indexof "
        "list_intersect list_kurtosis list_kurtosis_pop list_last list_mad list_max list_median "
        "list_min list_mode list_pack list_position list_prepend list_product list_reduce "
        "list_resize list_reverse list_reverse_sort list_select list_sem list_skewness list_slice "
        "list_sort list_stddev_pop list_stddev_samp list_string_agg list_sum list_transform "
        "list_unique list_value list_var_pop list_var_samp list_where list_zip range reduce "
        "unnest"},
    // Distances between lists of numbers, such as a location's counts by hour.
    FunctionFamily{
        "vectors",
        "array_cosine_distance array_cosine_similarity array_cross_product array_distance "
        "array_dot_product array_inner_product array_negative_dot_product "
        "array_negative_inner_product list_cosine_distance list_cosine_similarity list_distance "
        "list_dot_product list_inner_product list_negative_dot_product "
        "list_negative_inner_product"},
    // They build and take apart values of several fields.
    FunctionFamily{"structs, maps and unions",
                   "cardinality element_at map map_concat map_contains map_contains_entry "
                   "map_contains_value map_entries map_extract map_extract_value map_from_entries "
                   "map_keys map_values row struct_concat struct_contains struct_extract "
                   "struct_extract_at struct_has struct_indexof struct_insert struct_keys "
                   "struct_pack struct_position struct_update struct_values union_extract "
                   "union_tag union_value"},
    // What conditions and CASE are written with.
    FunctionFamily{"conditions and types",
                   "alias enum_code enum_first enum_last enum_range enum_range_boundary error "
                   "nullif pg_typeof switch typeof"},
    // They take bits apart.
    FunctionFamily{"bits", "bit_count bit_length bit_position bitstring get_bit set_bit"},
    // Samples that are the same every time, and keys for what is exported.
    FunctionFamily{"hashes and unique ids",
                   "gen_random_uuid hash md5 md5_number md5_number_lower md5_number_upper sha1 "
                   "sha256 uuid uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7"},
    // None of these recurses by the depth of the JSON. They do recurse by the wildcards of a path,
    // so the guard bounds those.
    FunctionFamily{"JSON reading",
                   "json json_array_length json_exists json_extract json_extract_path "
                   "json_extract_path_text json_extract_string json_keys json_pretty json_type "
                   "json_valid json_value"},
    // The depth of what they write is that of the types in the question.
    FunctionFamily{"JSON writing",
                   "array_to_json json_array json_group_array json_group_object json_object "
                   "json_quote row_to_json to_json"},
    // What analysts ask with. GROUP BY bounds none of them: the memory is bounded from outside.
    FunctionFamily{
        "aggregates",
        "any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max "
        "arg_max_null arg_max_nulls_last arg_min arg_min_null arg_min_nulls_last argmax argmin "
        "array_agg avg bit_and bit_or bit_xor bitstring_agg bool_and bool_or corr count count_if "
        "count_star countif covar_pop covar_samp entropy equi_width_bins favg first fsum geomean "
        "geometric_mean group_concat histogram histogram_exact is_histogram_other_bin kahan_sum "
        "kurtosis kurtosis_pop last list listagg mad max max_by mean median min min_by mode "
        "product quantile quantile_cont quantile_disc regr_avgx regr_avgy regr_count "
        "regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy sem "
        "skewness stddev stddev_pop stddev_samp string_agg sum sumkahan var_pop var_samp variance "
        "wavg weighted_avg"},
    // Ranks, differences from one window to the next, running sums.
    FunctionFamily{"windows",
                   "cume_dist dense_rank fill first_value lag last_value lead nth_value ntile "
                   "percent_rank rank rank_dense row_number"},
};

// They only compute rows. Most other table functions read files, settings or the catalogue.
constexpr std::array<std::string_view, 5> kTableFunctions = {"range", "generate_series", "unnest",
                                                             "json_each", "json_tree"};

// All types but VARIANT (a cast from deep JSON ends the process), geometry, types as values, and
// those that only DuckDB's catalogue uses.
constexpr std::string_view kTypes =
    "array bigint bignum bit blob boolean char date decimal double enum float hugeint integer "
    "integer_literal interval json list map null smallint string_literal struct time time_ns "
    "timestamp timestamp_ms timestamp_ns timestamp_s tinyint ubigint uhugeint uinteger union "
    "usmallint utinyint uuid varchar";
// These contain a space.
constexpr std::array<std::string_view, 2> kZonedTypes = {"time with time zone",
                                                         "timestamp with time zone"};

using Names = std::set<std::string_view>;

void AddWords(std::string_view words, Names& names) {
  while (!words.empty()) {
    const size_t end = std::min(words.find(' '), words.size());
    names.insert(words.substr(0, end));
    words.remove_prefix(std::min(end + 1, words.size()));
  }
}

const Names& Functions() {
  static const Names names = [] {
    Names all;
    for (const FunctionFamily& family : kFamilies) AddWords(family.functions, all);
    return all;
  }();
  return names;
}

const Names& Types() {
  static const Names names = [] {
    Names all(kZonedTypes.begin(), kZonedTypes.end());
    AddWords(kTypes, all);
    return all;
  }();
  return names;
}

bool IsWord(std::string_view name) {
  return !name.empty() && (name[0] == '_' || (name[0] >= 'a' && name[0] <= 'z'));
}

// The number of insertions, deletions and replacements (Levenshtein 1966) that make `a` into `b`.
size_t Edits(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

// A name that was asked for can have 64 kB; what it resembles shows in the first letters.
constexpr size_t kComparedMax = 64;

// Of names equally near, that with more first letters in common, then the first of the alphabet.
std::string Nearest(std::string_view name, const Names& names) {
  const std::string wanted = Lower(name.substr(0, kComparedMax));
  std::tuple<size_t, size_t> best{SIZE_MAX, SIZE_MAX};
  std::string_view nearest;
  for (const std::string_view candidate : names) {
    // An operator of one letter is only a few edits away from every short name.
    if (IsWord(candidate) != IsWord(wanted)) continue;
    const auto [end, other] =
        std::mismatch(wanted.begin(), wanted.end(), candidate.begin(), candidate.end());
    const std::tuple<size_t, size_t> distance{Edits(wanted, candidate),
                                              static_cast<size_t>(wanted.end() - end)};
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return std::string(nearest);
}

bool IsOneOf(std::initializer_list<std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::span<const FunctionFamily> FunctionFamilies() { return kFamilies; }

bool IsFunctionAllowed(std::string_view name) { return Functions().contains(Lower(name)); }

std::string NearestFunction(std::string_view name) { return Nearest(name, Functions()); }

std::span<const std::string_view> TableFunctions() { return kTableFunctions; }

bool IsTableFunctionAllowed(std::string_view name) {
  return std::find(kTableFunctions.begin(), kTableFunctions.end(), Lower(name)) !=
         kTableFunctions.end();
}

bool IsTypeAllowed(std::string_view name) { return Types().contains(Lower(name)); }

std::string NearestType(std::string_view name) { return Nearest(name, Types()); }

bool TakesLambda(std::string_view function) {
  return IsOneOf({"apply", "array_apply", "array_filter", "array_reduce", "array_transform",
                  "filter", "list_apply", "list_filter", "list_reduce", "list_transform", "reduce"},
                 Lower(function));
}

bool TakesJsonPath(std::string_view function) {
  return IsOneOf(
      {"->>", "json_array_length", "json_exists", "json_extract", "json_extract_path",
       "json_extract_path_text", "json_extract_string", "json_keys", "json_type", "json_value"},
      Lower(function));
}

bool TakesAggregateName(std::string_view function) {
  return IsOneOf({"aggregate", "array_aggr", "array_aggregate", "list_aggr", "list_aggregate"},
                 Lower(function));
}

uint64_t CopiesOfArguments(std::string_view function) {
  const std::string name = Lower(function);
  if (name == "round_even") return 3;
  return IsOneOf(
             {"array_pop_back", "array_to_string", "fmod", "json_group_array", "json_group_object",
              "map_contains_entry", "nullif", "split_part", "weighted_avg"},
             name)
             ? 2
             : 1;
}

}  // namespace sightline
