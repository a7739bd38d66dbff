#!/bin/bash
#
# Checks that each line of C++ in a document stands in an example, so that it
# compiles and runs.
#
#   bazel test //tests/examples:documents_test

set -euo pipefail

# Checks the C++ of the document $1 against the example $2.
check() {
  local line lines=0
  # shellcheck disable=SC2016  # Markdown's, not the shell's.
  while read -r line; do
    [[ -z "${line}" ]] && continue
    grep -qF -- "${line}" "$2" || {
      echo "$1's line is not in $2: ${line}"
      exit 1
    }
    ((++lines))
  done < <(sed -n '/^```cpp$/,/^```$/ { /^```/d; p }' "$1")
  ((lines > 10))
}

check README.md examples/readme.cc
check docs/quick_start.md examples/quick_start.cc
