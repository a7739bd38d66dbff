#!/bin/bash
#
# Checks that each line of README.md's C++ example stands in examples/readme.cc,
# so that it compiles and runs.
#
#   bazel test //tests/examples:readme_text_test

set -euo pipefail

# The lines of README.md's first C++ block, without their indentation.
example() {
  # shellcheck disable=SC2016  # Markdown's, not the shell's.
  sed -n '/^```cpp$/,/^```$/ { /^```/d; s/^ *//; p }' README.md
}

[[ "$(example | wc -l)" -gt 10 ]]
while read -r line; do
  [[ -z "${line}" ]] && continue
  grep -qF -- "${line}" examples/readme.cc || {
    echo "README.md's line is not in examples/readme.cc: ${line}"
    exit 1
  }
done < <(example)
