#ifndef TANDEM_TOOLS_RELAY_STATS_PAGE_H_
#define TANDEM_TOOLS_RELAY_STATS_PAGE_H_

#include <string_view>

namespace tandem {

// A file of the status page, from the folder page/.
struct PageFile {
  std::string_view path;
  const char* type;
  std::string_view text;
};

// Each .inc contains its file as one string literal.
inline constexpr PageFile kPageFiles[] = {
    {
        "/",
        "text/html; charset=utf-8",
#include "tools/relay/stats/page/status.html.inc"
    },
    {
        "/status.css",
        "text/css; charset=utf-8",
#include "tools/relay/stats/page/status.css.inc"
    },
    {
        "/status.js",
        "text/javascript; charset=utf-8",
#include "tools/relay/stats/page/status.js.inc"
    },
    {
        "/plot.js",
        "text/javascript; charset=utf-8",
#include "tools/relay/stats/page/plot.js.inc"
    },
    {
        "/icon.svg",
        "image/svg+xml",
#include "tools/relay/stats/page/icon.svg.inc"
    },
};

}  // namespace tandem

#endif  // TANDEM_TOOLS_RELAY_STATS_PAGE_H_
