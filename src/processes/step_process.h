// join, transform, store: the steps between `count` and the lake as processes of their own. Any
// number of each may run; they share the partitions through a consumer group.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "config/options.h"

namespace sightline {

// Each as RunUp() in processes/up.h: runs until SIGTERM or SIGINT, which must be blocked in the
// calling thread.
//
// Names to counts: kafka.item_counts_topic to kafka.counts_topic.
Status RunJoin(const Settings& options, const std::function<void(const std::string& url)>& ready);
// Counts to sealed segments: kafka.counts_topic to kafka.lake_rows_topic.
Status RunTransform(const Settings& options,
                    const std::function<void(const std::string& url)>& ready);
// Sealed segments into the lake: kafka.lake_rows_topic to lake.dir.
Status RunStore(const Settings& options, const std::function<void(const std::string& url)>& ready);

}  // namespace sightline
