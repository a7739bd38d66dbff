#ifndef TANDEM_METRICS_SNAPSHOT_TEXT_H_
#define TANDEM_METRICS_SNAPSHOT_TEXT_H_

#include <string>

#include "tandem/metrics/fields.h"
#include "tandem/session/session_allocator.h"

namespace tandem {

// A snapshot for a log or a terminal: one line for the pool, for each depot
// shard, for each cache that has or had an owner, and for each class, in the
// form "name: field number, field number". metrics/fields.h has the names.
// Numbers that are 0 are left out.
std::string SnapshotText(const SessionSnapshot& snapshot);

// The same as a JSON object, with all numbers:
//   {"pool": {FIELDS, "cores": [{FIELDS}], "cold": {FIELDS},
//             "caches": [{FIELDS}]},
//    "classes": [{"name": "pair", FIELDS, "wait_nanos": number,
//                 "buckets": [28 numbers]}]}
std::string SnapshotJson(const SessionSnapshot& snapshot);

}  // namespace tandem

#endif  // TANDEM_METRICS_SNAPSHOT_TEXT_H_
