#!/bin/bash
#
# The long part of what checks Tandem, one step after another, and a table of
# how each ended.  The quick part of most is in `bazel test //...`; which rules
# a step checks is in docs/verification.md.
#
#   bazel run //tools:verify                    everything, about two hours
#   bazel run //tools:verify -- --scale=10      a tenth of the time for each
#   bazel run //tools:verify -- NAME...         the steps whose names contain one
#
# Prints each step's own output as it comes.  Exits with 1 if a step failed.
# What is not installed (clang, spin) makes its step a skipped one.

set -uo pipefail
cd "${BUILD_WORKSPACE_DIRECTORY:-$(dirname "${BASH_SOURCE[0]}")/..}" || exit 1

scale=100  # per cent
wanted=()
for argument in "$@"; do
  case "${argument}" in
    --scale=*) scale="${argument#--scale=}" ;;
    *) wanted+=("${argument}") ;;
  esac
done
if ! [[ "${scale}" =~ ^[1-9][0-9]*$ ]]; then
  echo "verify: --scale takes a number of per cent, at least 1" >&2
  exit 2
fi

# Seconds, scaled, at least 5.
seconds() {
  local scaled=$(($1 * scale / 100))
  echo $((scaled < 5 ? 5 : scaled))
}

table=()
failed=0

# step NAME NEEDED-PROGRAM COMMAND: runs it, if it is wanted and can be.
step() {
  local name="$1" needs="$2" command="$3" start="${SECONDS}" result part
  if ((${#wanted[@]} > 0)); then
    local match=0
    for part in "${wanted[@]}"; do [[ "${name}" == *"${part}"* ]] && match=1; done
    ((match)) || return
  fi
  if [[ -n "${needs}" ]] && ! command -v "${needs}" >/dev/null; then
    result="skipped: ${needs} is not installed"
  else
    echo "==== ${name}: ${command}"
    if bash -c "${command}"; then
      result=passed
    else
      result=FAILED
      failed=1
    fi
  fi
  table+=("$(printf '%-16s %6d s  %s' "${name}" $((SECONDS - start)) "${result}")")
}

# Twenty times what `bazel test` explores.
schedules="$(awk -v s="${scale}" 'BEGIN { print 20 * s / 100 }')"
step schedules "" "bazel test -c opt --cache_test_results=no \
  --test_timeout=14400 --test_env=TANDEM_SCHEDULE_ITERATIONS=${schedules} \
  --test_output=all //tests/schedule/..."
step models spin "bazel run //tests/model:check -- --long"
step histories "" "bazel test -c opt --cache_test_results=no \
  --runs_per_test=$((scale < 10 ? 1 : scale / 10)) \
  //tests/session:linearizability_test"
step seizures "" "bazel run -c opt //tests/pool:seizure_stress -- \
  --seconds=$(seconds 60)"
step stress-tsan "" "bazel run --config=tsan //tools:stress -- \
  --seconds=$(seconds 600)"
step stress-asan "" "bazel run --config=asan //tools:stress -- \
  --seconds=$(seconds 300)"
step stress-biased "" "bazel run -c opt //tools:stress -- \
  --seconds=$(seconds 300) --bias=auto"
step fuzz clang "bazel run --config=fuzz //tests/fuzz:pool_fuzz -- \
  -max_total_time=$(seconds 600) -print_final_stats=1"
step relay "" "bazel run -c opt //tests/relay:soak -- --seconds=$(seconds 600)"
step mutations "" "tests/mutations/run"

printf '\n%s\n' "${table[@]}"
exit "${failed}"
