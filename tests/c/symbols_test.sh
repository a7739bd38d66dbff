#!/bin/bash
#
# Checks that the archive of //c defines every function that c/tandem.h declares,
# and nothing else that could meet a name of its user's.

set -euo pipefail

readonly HEADER=c/tandem.h
ARCHIVE="$(find c/ -name 'libtandem_c*.a' | head -n 1)"
readonly ARCHIVE

# Names before a parenthesis, at the start of a declaration: comments and what
# is between parentheses go first.
declared() {
  sed -E 's@//.*@@' "${HEADER}" | tr '\n' ' ' |
    grep -oE '\b(tandem|session)_[a-z_]+\(' | tr -d '(' | sort -u
}

# Strong symbols alone: weak ones are inline functions of C++, which the linker
# merges with others of the same mangled name.
defined() {
  nm --defined-only --extern-only --format=posix "${ARCHIVE}" |
    awk '$2 ~ /^[A-TX-Z]$/ { print $1 }' | sort -u
}

# What is weak, but not C++'s.
unmangled() {
  nm --defined-only --extern-only --format=posix "${ARCHIVE}" |
    awk '$2 ~ /^[uVvWw]$/ && $1 !~ /^(_Z|DW\.ref\.)/ { print $1 }'
}

failed=0
count="$(declared | wc -l)"
((count > 40)) || {
  echo "only ${count} functions found in ${HEADER}"
  failed=1
}
diff --label declared --label defined -U0 <(declared) <(defined) || failed=1
if [[ -n "$(unmangled)" ]]; then
  echo "weak symbols that are not C++'s:"
  unmangled
  failed=1
fi
echo "${count} functions declared and defined"
exit "${failed}"
