#include "server/spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sightline {
namespace {

std::string ReadAll(const Spool& spool, size_t piece) {
  std::string all;
  std::vector<char> buffer(piece);
  for (;;) {
    const Result<size_t> read = spool.Read(static_cast<int64_t>(all.size()), buffer);
    EXPECT_TRUE(read.ok()) << read.status().message();
    if (!read.ok() || read.value() == 0) return all;
    all.append(buffer.data(), read.value());
  }
}

std::string Text(size_t bytes) {
  std::string text;
  for (size_t i = 0; text.size() < bytes; ++i) text += std::to_string(i) + ",";
  text.resize(bytes);
  return text;
}

TEST(Spool, GivesBackWhatItTookFromMemoryAndFile) {
  for (const size_t bytes : {0, 1, 1'000, 1 << 20, (1 << 20) + 1, 5 << 20}) {
    SpoolBudget budget(64 << 20, 64 << 20);
    Spool spool(&budget);
    const std::string text = Text(bytes);
    for (size_t at = 0; at < bytes; at += 70'000)
      ASSERT_TRUE(spool.Append(std::string_view(text).substr(at, 70'000)).ok());
    EXPECT_EQ(spool.size(), static_cast<int64_t>(bytes));
    EXPECT_EQ(ReadAll(spool, 333'333), text) << bytes;
    EXPECT_EQ(ReadAll(spool, 1 << 20), text) << "a second time";
    EXPECT_LE(budget.memory.bytes(), Spool::kMemoryBytesMax);
    EXPECT_EQ(budget.memory.bytes() + budget.disk.bytes(), static_cast<int64_t>(bytes));
  }
}

TEST(Spool, BeginsAgain) {
  SpoolBudget budget(64 << 20, 64 << 20);
  Spool spool(&budget);
  ASSERT_TRUE(spool.Append(Text(3 << 20)).ok());
  spool.Clear();
  EXPECT_EQ(budget.memory.bytes() + budget.disk.bytes(), 0);
  ASSERT_TRUE(spool.Append("other").ok());
  EXPECT_EQ(ReadAll(spool, 100), "other");
}

TEST(Spool, WithoutMemoryItUsesTheDisk) {
  SpoolBudget budget(10, 1 << 20);
  Spool spool(&budget);
  ASSERT_TRUE(spool.Append("more than ten bytes").ok());
  EXPECT_EQ(budget.memory.bytes(), 0);
  EXPECT_EQ(ReadAll(spool, 4), "more than ten bytes");
}

TEST(Spool, SaysWhetherItOrAllTogetherAreTooLarge) {
  SpoolBudget budget(1 << 20, 8 << 20);
  Spool one(&budget), two(&budget), three(&budget);
  EXPECT_EQ(one.Append(Text((4 << 20) + 1)).code(), StatusCode::kStop);
  EXPECT_TRUE(one.too_large());
  EXPECT_TRUE(one.Append(Text(4 << 20)).ok());
  EXPECT_TRUE(two.Append(Text(4 << 20)).ok());
  const Status full = three.Append(Text(2 << 20));
  EXPECT_EQ(full.code(), StatusCode::kRetry);
  EXPECT_THAT(full.message(), testing::HasSubstr("query.answer_disk_max"));
  EXPECT_FALSE(three.too_large());
}

}  // namespace
}  // namespace sightline
