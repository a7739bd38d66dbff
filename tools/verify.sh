#!/bin/bash
#
# The long part of what checks Tandem, one step after another, and a table of
# how each ended.  The quick part of most is in `bazel test //...`; which rules
# a step checks is in docs/verification.md.
#
#   bazel run //tools:verify                everything, about 100 minutes
#   bazel run //tools:verify -- --scale=10  a tenth of the time for the steps
#                                           whose length is a choice; or more
#   bazel run //tools:verify -- NAME...     the steps whose names contain one
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

# What there is to do: NAME, NEEDED-PROGRAM, COMMAND of each step.
steps=()
step() { steps+=("$@"); }

test="bazel test --cache_test_results=no"
step tests-tsan "" "${test} --config=tsan --build_tests_only \
  --test_tag_filters=-schedule,-unsanitized //tests/..."
step tests-asan "" "${test} --config=asan --build_tests_only \
  --test_tag_filters=-schedule,-unsanitized //tests/..."
# Ten times what `bazel test` explores.
schedules="$(awk -v s="${scale}" 'BEGIN { print 10 * s / 100 }')"
step schedules "" "${test} -c opt --test_timeout=14400 --test_output=all \
  --test_env=TANDEM_SCHEDULE_ITERATIONS=${schedules} //tests/schedule/..."
step models spin "bazel run //tests/model:check -- --long"
step histories "" "${test} -c opt \
  --runs_per_test=$((scale < 10 ? 1 : scale / 10)) \
  //tests/session:linearizability_test"
step instructions "" "${test} -c opt --test_timeout=1800 --test_output=all \
  --test_env=TANDEM_EVERY_INSTRUCTION=1 \
  //tests/pool:stopped_thread_test //tests/pool:interrupted_test \
  //tests/pool:parked_thread_test //tests/pool:stepper_test \
  //tests/session:stopped_session_test //tests/session:stopped_post_test \
  //tests/session:stopped_wait_test //tests/session:interrupted_session_test"
step weak-hardware "" "${test} -c opt //tests/pool:fast_path_aarch64_test"
step seizures "" "bazel run -c opt //tests/pool:seizure_stress -- \
  --seconds=$(seconds 60)"
step stress-tsan "" "bazel run --config=tsan //tools:stress -- \
  --seconds=$(seconds 300)"
step stress-asan "" "bazel run --config=asan //tools:stress -- \
  --seconds=$(seconds 180)"
step stress-biased "" "bazel run -c opt //tools:stress -- \
  --seconds=$(seconds 180) --bias=auto"
step fuzz clang "bazel run --config=fuzz //tests/fuzz:pool_fuzz -- \
  -max_total_time=$(seconds 300) -max_len=512 -print_final_stats=1 \
  \"\$(mktemp -d)\" \"\${PWD}/tests/fuzz/corpus\""
step relay "" "bazel run -c opt //tests/relay:soak -- --seconds=$(seconds 300)"
step mutations "" "tests/mutations/run"

# True if the step is one of those that were asked for.
wants() {
  ((${#wanted[@]} == 0)) && return
  local part
  for part in "${wanted[@]}"; do [[ "$1" == *"${part}"* ]] && return; done
  return 1
}

chosen=()
for ((i = 0; i < ${#steps[@]}; i += 3)); do
  wants "${steps[i]}" && chosen+=("${steps[@]:i:3}")
done

table=()
failed=0
count=$((${#chosen[@]} / 3))
for ((i = 0; i < ${#chosen[@]}; i += 3)); do
  name="${chosen[i]}" needs="${chosen[i + 1]}" command="${chosen[i + 2]}"
  start="${SECONDS}"
  echo "==== ${name}, step $((i / 3 + 1)) of ${count}, after" \
    "$((SECONDS / 60)) min: ${command}"
  if [[ -n "${needs}" ]] && ! command -v "${needs}" >/dev/null; then
    result="skipped: ${needs} is not installed"
  elif bash -c "${command}"; then
    result=passed
  else
    result=FAILED
    failed=1
  fi
  table+=("$(printf '%-16s %6d s  %s' "${name}" $((SECONDS - start)) \
    "${result}")")
done

echo
printf '%s\n' "${table[@]}"
exit "${failed}"
