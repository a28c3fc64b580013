#include "connectors/locations/locations.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace sightline {
namespace {

void ExpectRefused(std::string_view csv, std::string_view because) {
  const auto result = ParseLocations(csv);
  ASSERT_FALSE(result.ok()) << csv;
  EXPECT_NE(result.status().message().find(because), std::string::npos)
      << result.status().message();
}

TEST(Locations, ReadsColumnsInAnyOrderWithQuotesBomAndCrlf) {
  const auto result = ParseLocations(
      "\xEF\xBB\xBFgeographical_location,x,geographical_location_oid,time_zone,latitude\r\n"
      "\"Gate \"\"4\"\", north\",1,7,Europe/Oslo,59.9\r\n\r\nPlaza,,-8,,\r\n");
  ASSERT_TRUE(result.ok()) << result.status().message();
  ASSERT_EQ(result.value().size(), 2u);
  EXPECT_EQ(result.value()[0].name, "Gate \"4\", north");
  EXPECT_EQ(result.value()[0].location.v, 7);
  EXPECT_EQ(result.value()[0].time_zone, "Europe/Oslo");
  EXPECT_EQ(result.value()[0].latitude, 59.9);
  EXPECT_EQ(result.value()[1].location.v, -8);
  EXPECT_FALSE(result.value()[1].latitude.has_value());
}

TEST(Locations, OtherSeparators) {
  for (const std::string s : {";", "\t", "|"}) {
    const auto result =
        ParseLocations("geographical_location_oid" + s + "geographical_location\n1" + s + "A, B\n");
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_EQ(result.value()[0].name, "A, B");
  }
}

// What Excel and its like write, in countries with a decimal comma and elsewhere.
TEST(Locations, TablesOfSpreadsheets) {
  const std::string columns = "geographical_location_oid;geographical_location;latitude;parent";
  for (const std::string sep :
       {"sep=;\r\n", "\"sep=;\"\n", "SEP=;\n", "\xEF\xBB\xBFsep=;\r\n", ""}) {
    const auto result = ParseLocations(
        sep + columns + "\r\n7;Gate 4, north;59,9;\r\n;;;\r\n8.0;Plaza;-0,5;7,0\r\n ; ;;\r\n;;;");
    ASSERT_TRUE(result.ok()) << sep << result.status().message();
    ASSERT_EQ(result.value().size(), 2u);
    EXPECT_EQ(result.value()[0].name, "Gate 4, north");
    EXPECT_EQ(result.value()[0].latitude, 59.9);
    EXPECT_FALSE(result.value()[0].parent.has_value());
    EXPECT_EQ(result.value()[1].location.v, 8);
    EXPECT_EQ(result.value()[1].latitude, -0.5);
    EXPECT_EQ(result.value()[1].parent->v, 7);
  }
  // A separator that the header does not show.
  EXPECT_TRUE(ParseLocations("sep=:\ngeographical_location_oid:geographical_location\n1:A\n").ok());
}

TEST(Locations, SpacesAroundFieldsAreNotPartOfThem) {
  const auto result = ParseLocations(
      "geographical_location_oid, geographical_location , latitude\r\n"
      "7, \"Gate \"\"4\"\", north\" , 59.9 \r\n 8 ,  Plaza  ,\"60,5\"\r\n9,\" A \",\r\n");
  ASSERT_TRUE(result.ok()) << result.status().message();
  ASSERT_EQ(result.value().size(), 3u);
  EXPECT_EQ(result.value()[0].name, "Gate \"4\", north");
  EXPECT_EQ(result.value()[0].latitude, 59.9);
  EXPECT_EQ(result.value()[1].location.v, 8);
  EXPECT_EQ(result.value()[1].name, "Plaza");
  EXPECT_EQ(result.value()[1].latitude, 60.5);
  EXPECT_EQ(result.value()[2].name, " A ");
}

TEST(Locations, WholeNumbersStayExact) {
  const std::string header = "geographical_location_oid,geographical_location,parent\n";
  const auto result = ParseLocations(header + "9223372036854775807.0,A,-9223372036854775808.00\n");
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result.value()[0].location.v, std::numeric_limits<int64_t>::max());
  EXPECT_EQ(result.value()[0].parent->v, std::numeric_limits<int64_t>::min());
  for (const char* oid : {"7.5", "7.", ".0", "7.0.0", "9.22E+18", "7 8", "\"1,234\""})
    ExpectRefused(header + oid + ",A,\n", "line 2: geographical_location_oid '");
}

TEST(Locations, RefusesWholeTables) {
  const std::string header = "geographical_location_oid,geographical_location,latitude\n";
  ExpectRefused("", "empty");
  ExpectRefused(header, "no rows");
  ExpectRefused("geographical_location_oid,name\n1,A\n", "'geographical_location' is missing");
  ExpectRefused("geographical_location_oid:geographical_location\n1:A\n", "is missing");
  ExpectRefused(header + "1,A,\n2,B,\n1,C,\n",
                "line 4: geographical_location_oid 1 occurs already in line 2");
  ExpectRefused(header + "x,A,\n", "line 2: geographical_location_oid 'x'");
  ExpectRefused(header + "99999999999999999999,A,\n", "not a number");
  ExpectRefused(header + "1,A,north\n", "latitude 'north'");
  ExpectRefused(header + "1,,\n", "geographical_location is empty");
  ExpectRefused(header + "1,A,inf\n", "latitude 'inf' is not a number");
  ExpectRefused(header + "1,A,\"1.234,5\"\n", "latitude '1.234,5' is not a number");
  ExpectRefused("sep=;\n" + header + "1,A,\n", "line 2: column 'geographical_location_oid'");
  ExpectRefused("geographical_location_oid,geographical_location,parent\n1,A,Station\n",
                "parent 'Station' is not a number: write the geographical_location_oid of");
  ExpectRefused(header + "1,\"A,\n", "never closed");
  for (const char* bytes : {"caf\xe9", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"})
    ExpectRefused(header + "1," + bytes + ",\n", "line 2: not valid UTF-8");
  EXPECT_TRUE(ParseLocations(header + "1,caf\u00e9 \u20ac \U0001f6b2,\n").ok());
}

}  // namespace
}  // namespace sightline
