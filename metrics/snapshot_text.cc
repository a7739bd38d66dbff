#include "tandem/metrics/snapshot_text.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string_view>

namespace tandem {
namespace {

// A line of SnapshotText, unless all numbers are 0.
template <class Struct, size_t n>
void AppendLine(std::string& to, const std::string& name,
                const Field<Struct> (&fields)[n], const Struct& from) {
  const char* separator = ": ";
  for (const Field<Struct>& field : fields) {
    const uint64_t number = field.of(from);
    if (number == 0) continue;
    if (separator[0] == ':') to += name;
    ((to += separator) += field.name) += ' ';
    to += std::to_string(number);
    separator = ", ";
  }
  if (separator[0] == ',') to += '\n';
}

void AppendString(std::string& to, std::string_view text) {
  to += '"';
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20) {
      char escape[7];
      std::snprintf(escape, sizeof(escape), "\\u%04x", c);
      to += escape;
      continue;
    }
    if (c == '"' || c == '\\') to += '\\';
    to += c;
  }
  to += '"';
}

// "name": number, ... without braces.
template <class Struct, size_t n>
void AppendMembers(std::string& to, const Field<Struct> (&fields)[n],
                   const Struct& from) {
  const char* separator = "";
  for (const Field<Struct>& field : fields) {
    to += separator;
    AppendString(to, field.name);
    (to += ':') += std::to_string(field.of(from));
    separator = ",";
  }
}

// [item,item,...]; append(item) writes each item.
template <class Items, class Append>
void AppendArray(std::string& to, const Items& items, const Append& append) {
  to += '[';
  bool first = true;
  for (const auto& item : items) {
    if (!first) to += ',';
    first = false;
    append(item);
  }
  to += ']';
}

}  // namespace

std::string SnapshotText(const SessionSnapshot& snapshot) {
  std::string text;
  const PoolSnapshot& pool = snapshot.pool;
  AppendLine(text, "pool", kPoolFields, pool);
  for (size_t i = 0; i < pool.cores.size(); ++i) {
    AppendLine(text, "core " + std::to_string(i), kCoreFields, pool.cores[i]);
  }
  AppendLine(text, "cold", kCoreFields, pool.cold);
  for (size_t i = 0; i < pool.threads.size(); ++i) {
    AppendLine(text, "cache " + std::to_string(i), kCacheFields,
               pool.threads[i]);
  }
  for (const WaitClassSnapshot& c : snapshot.classes) {
    AppendLine(text, "class " + c.name, kClassFields, c);
  }
  return text;
}

std::string SnapshotJson(const SessionSnapshot& snapshot) {
  std::string json;
  const auto append_object = [&](const auto& fields, const auto& from) {
    json += '{';
    AppendMembers(json, fields, from);
    json += '}';
  };
  json += "{\"pool\":{";
  AppendMembers(json, kPoolFields, snapshot.pool);
  json += ",\"cores\":";
  AppendArray(json, snapshot.pool.cores,
              [&](const auto& core) { append_object(kCoreFields, core); });
  json += ",\"cold\":";
  append_object(kCoreFields, snapshot.pool.cold);
  json += ",\"caches\":";
  AppendArray(json, snapshot.pool.threads,
              [&](const auto& cache) { append_object(kCacheFields, cache); });
  json += "},\"classes\":";
  AppendArray(json, snapshot.classes, [&](const WaitClassSnapshot& c) {
    json += "{\"name\":";
    AppendString(json, c.name);
    json += ',';
    AppendMembers(json, kClassFields, c);
    json += ",\"wait_nanos\":" + std::to_string(c.wait_nanos);
    json += ",\"buckets\":";
    AppendArray(json, c.buckets,
                [&](uint64_t n) { json += std::to_string(n); });
    json += '}';
  });
  json += '}';
  return json;
}

}  // namespace tandem
