// The statements as text: the catalogs that take them are not there.
#include "connectors/lake/create_sql.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "connectors/lake/tables.h"
#include "connectors/lake/testing_lake.h"

namespace sightline::lake {
namespace {

using testing::HasSubstr;

class CreateSqlTest : public testing::Test, protected TestLake {
 protected:
  SnapshotPtr Table(const TableSpec& spec) { return OpenOrCreate(storage_, clock_, spec).value(); }
};

TEST_F(CreateSqlTest, Hive) {
  EXPECT_EQ(CreateTableSql(SqlDialect::kHive, "hdfs://prod/lake/", kLocationsTable,
                           *Table(LocationsSpec()))
                .value(),
            R"(CREATE EXTERNAL TABLE IF NOT EXISTS `locations` (
  `geographical_location_oid` BIGINT COMMENT 'Id of the location',
  `geographical_location` STRING COMMENT 'Name of the location when the row was written',
  `latitude` DOUBLE COMMENT 'Degrees',
  `longitude` DOUBLE COMMENT 'Degrees',
  `time_zone` STRING COMMENT 'IANA time zone',
  `parent` BIGINT COMMENT 'Id of the location around it'
)
COMMENT 'The locations by their present names'
STORED BY 'io.delta.hive.DeltaStorageHandler'
LOCATION 'hdfs://prod/lake/locations';
)");
}

TEST_F(CreateSqlTest, SparkAndUnity) {
  const SnapshotPtr table = Table(IncrementsSpec(Layout::kByBucket));
  const std::string rest = R"( (
  `geographical_location_oid` BIGINT, -- Id of the location
  `date` DATE, -- UTC day
  `geographical_location` STRING, -- Name of the location when the row was written
  `item_name` STRING, -- What was detected
  `window_start` TIMESTAMP, -- Start of the window, UTC
  `window_end` TIMESTAMP, -- End of the window, not included, UTC
  `item_count` BIGINT, -- What this row adds; negative in a correction that takes away
  `first_detected` TIMESTAMP, -- Earliest event time of what the row counts
  `last_detected` TIMESTAMP, -- Latest event time of what the row counts
  `kind` STRING, -- count or correction
  `engine` STRING, -- Who counted
  `source` STRING, -- Log that was counted; null in rows of other programs
  `source_partition` INT, -- Partition of the source
  `first_offset` BIGINT, -- First offset that was counted
  `next_offset` BIGINT, -- Offset behind the last that was counted
  `bucket` INT -- Part of the locations, by a hash of the oid
)
USING DELTA
PARTITIONED BY (`date`, `bucket`)
COMMENT 'What each commit of Sightline added; the count is the sum of item_count'
LOCATION 'file:///srv/o\'clock/item_count_increments';
)";
  EXPECT_EQ(CreateTableSql(SqlDialect::kSpark, "/srv/o'clock", kIncrementsTable, *table).value(),
            "CREATE TABLE IF NOT EXISTS `item_count_increments`" + rest);
  EXPECT_EQ(CreateTableSql(SqlDialect::kUnity, "/srv/o'clock", kIncrementsTable, *table).value(),
            "CREATE TABLE IF NOT EXISTS `main`.`default`.`item_count_increments`" + rest);
}

// Every column of every table is explained.
TEST_F(CreateSqlTest, NoColumnIsWithoutComment) {
  for (const TableSpec& spec :
       {LedgerSpec(), LocationsSpec(), IncrementsSpec(Layout::kByLocation)}) {
    const std::string sql =
        CreateTableSql(SqlDialect::kHive, "/lake", spec.name, *Table(spec)).value();
    size_t comments = 0;
    for (size_t at = 0; (at = sql.find(" COMMENT '", at)) != std::string::npos; ++at) ++comments;
    EXPECT_EQ(comments, spec.columns.size()) << sql;  // the table's own begins a line
  }
}

TEST_F(CreateSqlTest, ColumnsOfOthersAreThere) {
  Snapshot table = *Table(LocationsSpec());
  Metadata metadata = *table.metadata;
  const auto add = [&](const std::string& field) {
    metadata.schema_json.insert(metadata.schema_json.rfind("]}"), "," + field);
    table.metadata = std::make_shared<const Metadata>(metadata);
    return CreateTableSql(SqlDialect::kSpark, "/lake", kLocationsTable, table);
  };
  const std::string amount =
      R"x({"name":"a`b","type":"decimal(10,2)","nullable":true,"metadata":{"comment":"it's"}})x";
  EXPECT_THAT(add(amount).value(), HasSubstr("`parent` BIGINT, -- Id of the location around it\n"
                                             "  `a``b` DECIMAL(10,2) COMMENT 'it\\'s'\n"));
  const std::string deep =
      R"({"name":"deep","type":{"type":"struct","fields":[]},"nullable":true,"metadata":{}})";
  EXPECT_THAT(add(deep).status().message(), HasSubstr("'deep'"));
}

}  // namespace
}  // namespace sightline::lake
