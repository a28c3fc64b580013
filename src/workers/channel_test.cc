#include "workers/channel.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

namespace sightline {
namespace {

class ChannelTest : public testing::Test {
 protected:
  ChannelTest() : ChannelTest(SocketPair().value()) {}
  static constexpr size_t kMax = 64 << 20;
  Channel ours, theirs;

 private:
  explicit ChannelTest(std::pair<std::unique_ptr<const File>, std::unique_ptr<const File>> ends)
      : ours(std::move(ends.first)), theirs(std::move(ends.second)) {}
};

TEST_F(ChannelTest, FramesComeInOrderAndWhole) {
  std::thread sender([this] {
    for (const size_t size : {0, 1, 7, 8, 100'000, 3'000'000, 0})
      EXPECT_TRUE(ours.Send(FrameType::kBytes, std::string(size, 'x')).ok());
    EXPECT_TRUE(ours.Send(FrameType::kEnd, "end").ok());
  });
  for (const size_t size : {0, 1, 7, 8, 100'000, 3'000'000, 0}) {
    const Result<Frame> frame = theirs.Receive(kMax);
    ASSERT_TRUE(frame.ok());
    EXPECT_EQ(frame.value().type, FrameType::kBytes);
    EXPECT_EQ(frame.value().payload, std::string(size, 'x'));
  }
  EXPECT_EQ(theirs.Receive(kMax).value().payload, "end");
  sender.join();
}

off_t SizeOf(const File& file) { return lseek(file.fd(), 0, SEEK_END); }

TEST_F(ChannelTest, DescriptorsBelongToTheirFrame) {
  const File first(memfd_create("first", 0)), second(memfd_create("second", 0));
  ASSERT_EQ(write(first.fd(), "1", 1), 1);
  ASSERT_EQ(write(second.fd(), "22", 2), 2);
  std::thread sender([&] {
    const int one[] = {first.fd()}, both[] = {second.fd(), first.fd()};
    EXPECT_TRUE(ours.Send(FrameType::kBytes, "none").ok());
    EXPECT_TRUE(ours.Send(FrameType::kState, std::string(900'000, 'x'), nullptr, both).ok());
    EXPECT_TRUE(ours.Send(FrameType::kState, "", nullptr, one).ok());
  });
  EXPECT_TRUE(theirs.Receive(kMax).value().files.empty());
  const Frame two = theirs.Receive(kMax).value();
  ASSERT_EQ(two.files.size(), 2u);
  EXPECT_EQ(SizeOf(*two.files[0]), 2);
  EXPECT_EQ(SizeOf(*two.files[1]), 1);
  const Frame last = theirs.Receive(kMax).value();
  ASSERT_EQ(last.files.size(), 1u);
  EXPECT_EQ(SizeOf(*last.files[0]), 1);
  sender.join();
}

TEST_F(ChannelTest, ATickEndsTheWait) {
  const auto start = std::chrono::steady_clock::now();
  int ticks = 0;
  const Channel::Tick tick = [&] { return ++ticks < 5 ? Status::Ok() : Status::Stop("enough"); };
  EXPECT_EQ(theirs.Receive(kMax, tick).status().message(), "enough");
  // Nobody reads, so the socket is full soon.
  ticks = 0;
  EXPECT_EQ(ours.Send(FrameType::kBytes, std::string(50 << 20, 'x'), tick).message(), "enough");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

TEST_F(ChannelTest, TheEndOfTheOtherSideIsSeen) {
  { const Channel gone = std::move(theirs); }
  EXPECT_EQ(ours.Receive(kMax).status().code(), StatusCode::kRetry);
  EXPECT_EQ(ours.Send(FrameType::kAsk, "x").code(), StatusCode::kRetry);
}

TEST_F(ChannelTest, WhatIsNoFrameIsRefused) {
  const std::string too_large = {7, 0, 0, 0, '\xff', '\xff', '\xff', '\x7f'};
  ASSERT_EQ(send(ours.fd(), too_large.data(), too_large.size(), 0), 8);
  EXPECT_EQ(theirs.Receive(kMax).status().code(), StatusCode::kStop);
}

TEST_F(ChannelTest, DescriptorsThatDidNotComeAreMissed) {
  const std::string header = {3, 1, 0, 0, 0, 0, 0, 0};
  ASSERT_EQ(send(ours.fd(), header.data(), header.size(), 0), 8);
  EXPECT_EQ(theirs.Receive(kMax).status().code(), StatusCode::kStop);
}

}  // namespace
}  // namespace sightline
