// Snapshots as text and as JSON.

#include "tandem/metrics/snapshot_text.h"

#include <cstddef>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tandem/metrics/fields.h"
#include "tandem/session/session_allocator.h"

namespace tandem {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

SessionSnapshot Example() {
  SessionSnapshot snapshot;
  snapshot.pool.capacity = 16;
  snapshot.pool.in_use = 3;
  snapshot.pool.biased = true;
  snapshot.pool.cores = {{.buffers = 13, .changes = 2}, {}};
  snapshot.pool.threads.resize(2);
  snapshot.pool.threads[1].refills = 4;
  WaitClassSnapshot& c = snapshot.classes.emplace_back();
  c.name = "bulk \"x\"\n";
  c.waits = 5;
  c.wait_nanos = 1'500;
  c.buckets[1] = 7;
  return snapshot;
}

TEST(SnapshotTextTest, TextHasWhatIsNotNothing) {
  SessionSnapshot snapshot = Example();
  snapshot.classes[0].name = "bulk";
  EXPECT_EQ(SnapshotText(snapshot),
            "pool: capacity 16, in_use 3, biased 1\n"
            "core 0: buffers 13, changes 2\n"
            "cache 1: refills 4\n"
            "class bulk: waits 5\n");
}

TEST(SnapshotTextTest, JsonHasEverything) {
  const std::string json = SnapshotJson(Example());
  EXPECT_THAT(json, StartsWith("{\"pool\":{\"capacity\":16,\"reserve\":0,"));
  EXPECT_THAT(json, HasSubstr("\"cores\":[{\"buffers\":13,\"changes\":2},"
                              "{\"buffers\":0,\"changes\":0}],"
                              "\"cold\":{\"buffers\":0,\"changes\":0},"
                              "\"caches\":[{\"owned\":0,"));
  EXPECT_THAT(json,
              HasSubstr("\"classes\":[{\"name\":\"bulk \\\"x\\\"\\u000a\","
                        "\"waiting\":0,\"waits\":5,"));
  EXPECT_THAT(json, HasSubstr("\"wait_nanos\":1500,\"buckets\":[0,7,0,"));
  EXPECT_THAT(json, EndsWith("0]}]}"));
  for (const auto& field : kCacheFields) {
    EXPECT_THAT(json, HasSubstr("\"" + std::string(field.name) + "\":"));
  }
}

TEST(SnapshotTextTest, JsonOfNothingIsWhole) {
  EXPECT_THAT(SnapshotJson({}), EndsWith("\"caches\":[]},\"classes\":[]}"));
}

}  // namespace
}  // namespace tandem
