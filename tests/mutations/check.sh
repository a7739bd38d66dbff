#!/bin/bash
#
# Checks that each patch below this folder applies to the tree, lies in the
# folder of the first file that it changes, says which rule it breaks, and names
# a test that kills it or, if none does, is argued in README.md.  Whether the
# test really does is seen by `run`.
#
#   bazel test //tests/mutations:check

set -uo pipefail
shopt -s globstar

readonly FOLDER=tests/mutations
wrong=0

# Complains about a patch.
complain() {
  echo "$1: $2"
  ((++wrong))
}

killed=0
argued=0
for patch in "${FOLDER}"/**/*.patch; do
  name="$(basename "${patch}" .patch)"
  # In a sandbox, files are links.
  patch --dry-run --strip=1 --forward --force --silent --follow-symlinks \
    <"${patch}" || complain "${name}" "does not apply"
  file="$(sed -n 's|^+++ b/||p' "${patch}" | head -n 1)"
  [[ "$(dirname "${patch}")" == "${FOLDER}/$(dirname "${file}")" ]] ||
    complain "${name}" "belongs into ${FOLDER}/$(dirname "${file}")"
  grep -q '^Rule: [SP][0-9]' "${patch}" || complain "${name}" "breaks no rule"
  case "$(grep -cE '^(Killed-by|Survives): //' "${patch}") $(
    grep -c '^Survives: ' "${patch}")" in
    "1 0") ((++killed)) ;;
    "1 1")
      ((++argued))
      grep -qF "${name}" "${FOLDER}/README.md" ||
        complain "${name}" "survives, which README.md does not argue"
      ;;
    *) complain "${name}" "names no test, or several" ;;
  esac
done
echo "${killed} are to be killed, ${argued} survive as argued," \
  "${wrong} are wrong"
((wrong == 0 && killed >= 20))
