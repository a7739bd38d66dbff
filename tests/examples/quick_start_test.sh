#!/bin/bash
#
# Runs the program of docs/quick_start.md.
#
#   bazel test //tests/examples:quick_start_test

set -euo pipefail

[[ "$(printf 'hello\nworld\n' | examples/quick_start)" == $'HELLO\nWORLD' ]]
# More than a buffer holds, and nothing at all.
head -c 100000 /dev/zero | tr '\0' a | examples/quick_start | tr -d A | wc -c |
  grep -qx 0
[[ -z "$(examples/quick_start </dev/null)" ]]
