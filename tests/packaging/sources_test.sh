#!/bin/bash
#
# Checks what CMake and Bazel each say of the same thing: CMake compiles every .cc
# file of a library's folder and installs every header, so each must be in a
# target of Bazel's; version and Asio's macros must be the same.
#
#   bazel test //tests/packaging:sources_test

set -uo pipefail

wrong=0
complain() {
  echo "$*"
  ((++wrong))
}

while read -r file; do
  folder="${file%%/*}"
  grep -qF "\"${file#*/}\"" "${folder}/BUILD.bazel" ||
    complain "${file} is in no target of ${folder}/BUILD.bazel"
done < <(find -L pool session metrics c -name '*.cc' -o -name '*.h')

version="$(sed -n 's/^    version = "\(.*\)",$/\1/p' MODULE.bazel | head -1)"
grep -qx "  VERSION ${version}" CMakeLists.txt ||
  complain "MODULE.bazel's version, ${version}, is not CMakeLists.txt's"
grep -qx "## ${version}" CHANGELOG.md ||
  complain "CHANGELOG.md does not tell of ${version}"

macros() {
  grep -oE 'ASIO_(DISABLE|HAS)_[A-Z_]+' "$1" | sort -u
}
for file in CMakeLists.txt cmake/tandem-asio.pc.in; do
  difference="$(diff <(macros tools/repositories/system_libraries.bzl) \
    <(macros "${file}"))" || complain "${file}: Asio's macros: ${difference}"
done

while read -r header; do
  [[ -e "${header#tandem/}" ]] || complain "docs/api.md lists ${header}: no such file"
done < <(grep -oE 'tandem/[a-z]+/[a-z_]+\.h' docs/api.md)

((wrong == 0))
