#!/bin/bash
#
# Has spin search the models in this folder, whole, and the same with faults in
# them, each of which must be found.
#
# Usage: bazel test //tests/model:check             small bounds, and a fault for
#                                                   each property of each model
#        bazel run //tests/model:check -- --long    larger bounds, and all faults
#
# Prints a line for each search: what it is, how it ended, states, depth and
# seconds. Does nothing where spin is not installed, and says so.

set -uo pipefail

# Bazel starts this in the root of the tree; by hand it may be started anywhere.
models="${PWD}/tests/model"
[[ -e "${models}/sessions.pml" ]] ||
  models="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly models

for tool in spin cc; do
  command -v "${tool}" >/dev/null || {
    echo "SKIPPED: ${tool} is not installed (Debian: apt-get install spin gcc)"
    exit 0
  }
done

long=false
case "${1:-}" in
  --long) long=true ;;
  "") ;;
  *)
    echo "usage: check [--long]" >&2
    exit 2
    ;;
esac
readonly long

readonly PART_MINUTES="${PART_MINUTES:-5}"

# For searches that take longer than compiling with -O2 does, this changes.
optimize=-O0
depth=5000000

work="$(mktemp -d)"
trap 'rm -rf "${work}"' EXIT
cd "${work}" || exit 2
failed=0

# The number in the words $1 of pan's output.
number() {
  sed -nE "s/^(.*[^0-9.e+])?$1.*/\2/p" out | head -n 1
}

# search EXPECTED MODEL [-DNAME[=VALUE]...] [--pan FLAG...]
#
# EXPECTED is "holds": the whole space has been searched and nothing found; or
# "part": nothing was found in PART_MINUTES, with states told apart by hashes
# only; or a part of the message that names what went wrong.
search() {
  local expected="$1" model="$2"
  shift 2
  local name="${model} $*" defines=() run=(-w22)
  local compile=("${optimize}" -DCOLLAPSE)
  local arg
  for arg in "$@"; do
    case "${arg}" in
      -DREVERSE | -DT_REVERSE) compile+=("${arg}") ;;
      -D*) defines+=("${arg}") ;;
    esac
  done
  if [[ " $* " == *" -DLIVENESS "* ]]; then
    compile+=(-DNFAIR=3) # room for the processes there are
    run+=(-a -f)
  else
    compile+=(-DSAFETY)
  fi
  if [[ "${expected}" == part ]]; then
    compile=(-O2 -DBITSTATE "${compile[@]:2}")
    run=(-w33 "-Q${PART_MINUTES}" "${run[@]:1}")
  fi
  compile+=(-DMEMLIM=6000)
  local start="${SECONDS}"
  spin -a ${defines[@]+"${defines[@]}"} "${models}/${model}.pml" >out 2>&1 &&
    cc -w "${compile[@]}" -o pan pan.c >>out 2>&1 &&
    ./pan "-m${depth}" "${run[@]}" >out 2>&1
  local verdict judgement=as-expected
  if grep -q "^pan:1:" out; then
    verdict="$(sed -nE 's/^pan:1: (assertion violated )?(.*) \(at .*/\2/p' out)"
  elif ! grep -q "errors: 0" out; then
    verdict="not run: $(grep -m 1 -iE 'error|memory' out)"
  elif [[ "${expected}" == part ]]; then
    verdict=part
  elif grep -qE "Search not completed|max search depth too small" out; then
    verdict="not searched whole"
  else
    verdict=holds
  fi
  if [[ "${verdict}" != *"${expected}"* ]]; then
    judgement="WRONG, expected: ${expected}"
    failed=1
  fi
  printf '%-72s %10s states, depth %7s, %4d s: %s (%s)\n' "${name//-D/}" \
    "$(number '([0-9]+[0-9.e+]*) states, stored')" \
    "$(number 'depth reached ([0-9]+)')" "$((SECONDS - start))" \
    "${verdict}" "${judgement}"
}

# fault EXPECTED MODEL ...: as search, for a model with a fault in it. Without
# --long only the first fault that breaks a property of a model is searched.
declare -A broken=()
fault() {
  "${long}" || [[ -z "${broken["$2: $1"]:-}" ]] || return
  broken["$2: $1"]=true
  search "$@"
}

one_session=(pool_cache -DSECOND=NOTHING)
echo "What must hold:"
search holds "${one_session[@]}" -DOPERATIONS=4
search holds "${one_session[@]}" -DOPERATIONS=4 -DFIRST=RECEIVE
search holds "${one_session[@]}" -DOPERATIONS=4 -DCACHE=1
search holds pool_cache -DOPERATIONS=1
search holds pool_cache -DOPERATIONS=2 -DSECOND=RECLAIM
search holds "${one_session[@]}" -DOPERATIONS=4 -DREFUSALS
search holds magazines -DROUNDS=1
search holds magazines -DROUNDS=1 -DBUFFERS=4 -DMAGAZINES=4
search holds magazines -DROUNDS=1 -DMAGAZINES=2
search holds sessions -DSESSIONS=2
search holds sessions -DSESSIONS=2 -DCAPACITY=3 -DRESERVE=2
search holds sessions -DCOARSE
search holds sessions -DCOARSE -DCAPACITY=3 -DRESERVE=2
search holds sessions -DLIVENESS -DSESSIONS=2
search holds sessions -DCOARSE -DLIVENESS
search holds sessions -DSPARES=1 -DSESSIONS=2 -DCAPACITY=4
search holds sessions -DSPARES=1 -DSESSIONS=2 -DCAPACITY=3
search holds sessions -DSPARES=1 -DSESSIONS=2 -DCAPACITY=4 -DDECLARED=1
search holds sessions -DCOARSE -DSPARES=1 -DCAPACITY=4
search holds sessions -DCOARSE -DSPARES=1 -DLIVENESS -DCAPACITY=4
search holds sessions -DCOARSE -DLIVENESS -DCAPACITY=3 -DRESERVE=2
search holds sessions -DCOARSE -DLIVENESS -DCAPACITY=4 -DRESERVE=3
search holds levels
search holds levels -DLEVELS=5 -DSTREAMS=3
search holds levels -DLEVELS=3 -DSTEP=2 -DSTREAMS=3

echo "Faults, each of which must be found:"
twice=EveryBufferIsInOnePlace
beside=NobodySleepsBesideABuffer
passed=NobodyPassesASleeper
margin=AReceiveLeavesTheReserve
fault "${twice}" "${one_session[@]}" -DOPERATIONS=2 -DNO_BARRIER \
  -DREVERSE -DT_REVERSE
fault "${twice}" pool_cache -DOPERATIONS=2 -DFIRST=RECEIVE \
  -DCLOSING_IS_ENOUGH -DREVERSE -DT_REVERSE
fault OwnerSpinsForEver "${one_session[@]}" -DGATE_STAYS_BEHIND
fault "${twice}" "${one_session[@]}" -DGATE_STAYS_BEHIND -DANY_EPOCH_WILL_DO \
  -DREVERSE -DT_REVERSE
fault "${twice}" "${one_session[@]}" -DOPERATIONS=2 -DGATE_OPENS_BLINDLY \
  -DREVERSE -DT_REVERSE
fault NoGateOpensWithATakenLimit pool_cache -DOPERATIONS=2 -DSECOND=RECLAIM \
  -DLIMIT_ZEROED_LAST -DREVERSE -DT_REVERSE
fault NoGateOpensWithATakenLimit pool_cache -DOPERATIONS=2 -DSECOND=RECLAIM \
  -DLIMIT_READ_FIRST -DREVERSE -DT_REVERSE
fault "${twice}" "${one_session[@]}" -DREFUSALS -DREFUSAL_TAKEN_FOR_DONE \
  -DREVERSE -DT_REVERSE
fault "${beside}" "${one_session[@]}" -DREFUSALS -DNO_LOOK_AFTER_CLOSING
fault "${beside}" "${one_session[@]}" -DNO_LOOK_AFTER_PUSH
fault "${passed}" "${one_session[@]}" -DNO_LOOK_AFTER_EPOCH
fault "${beside}" "${one_session[@]}" -DOPERATIONS=3 -DPRESSURE_RAISED_LATE
fault ThePoolHoldsWhatIsCounted "${one_session[@]}" -DCREDIT_BEFORE_PUSH
fault "${margin}" "${one_session[@]}" -DRECEIVE_TAKES_RESERVE
fault "${beside}" pool_cache -DOPERATIONS=2 -DNO_SERVE_AFTER_SUBSCRIBE
fault "${beside}" pool_cache -DOPERATIONS=2 -DNO_SERVE_AFTER_CREDIT
fault "${beside}" "${one_session[@]}" -DOPERATIONS=2 -DNOBODY_SWEEPS
fault "${beside}" pool_cache -DOPERATIONS=2 -DJOIN_WHERE_NOBODY_WAITS \
  -DREVERSE -DT_REVERSE

boxes=EveryMagazineHasOneOwner
fault "${twice}" magazines -DCOPY_AFTER_SWAP
fault "${twice}" magazines -DNO_TAG
fault "${boxes}" magazines -DNO_TAG_ON_EMPTIES
fault "${boxes}" magazines -DEMPTY_TOO_EARLY
fault NoMoreInHandsThanAskedFor magazines -DPARTIAL_POP_HOLDS
fault ThePoolHoldsWhatIsCounted magazines -DTIDIES
fault ThePoolHoldsWhatIsCounted magazines -DCREDIT_BEFORE_PUSH

dead="invalid end state"
starved="acceptance cycle"
fault "${dead}" sessions -DCOARSE -DRESERVE=0
fault "${dead}" sessions -DCOARSE -DONE_QUEUE_FOR_BOTH_PAIRS
fault "${dead}" sessions -DSESSIONS=2 -DNO_SERVE_AFTER_SUBSCRIBE
fault "${dead}" sessions -DSESSIONS=2 -DNO_SERVE_AFTER_CREDIT
fault "${dead}" sessions -DSESSIONS=2 -DDROPPED_WAKE_UP
fault "${margin}" sessions -DSESSIONS=2 -DRECEIVE_TAKES_RESERVE
fault NothingIsLost sessions -DSESSIONS=2 -DLATE_OFFER_IS_DROPPED
fault "${passed}" sessions -DNOBODY_MUST_WAIT
fault "${starved}" sessions -DCOARSE -DLIVENESS -DCAPACITY=4 -DRESERVE=3 \
  -DNOBODY_MUST_WAIT
fault "${starved}" sessions -DCOARSE -DLIVENESS -DCAPACITY=4 -DRESERVE=3 \
  -DNOBODY_IS_DUE
fault "${passed}" sessions -DSPARES=1 -DSESSIONS=2 -DCAPACITY=4 -DDECLARED=1 \
  -DSPARES_PASS_WAITERS
fault "${margin}" sessions -DSPARES=1 -DSESSIONS=2 -DCAPACITY=3 \
  -DSPARES_TAKE_RESERVE
fault "${dead}" sessions -DSPARES=1 -DSESSIONS=2 -DCAPACITY=4 \
  -DSPARES_ARE_WAITED_FOR
fault "${dead}" levels -DKEEPS_NOTHING
fault "${dead}" levels -DASKS_AS_BEFORE
fault "${dead}" levels -DCAPACITY=1
fault "${dead}" levels -DLEVELS=5 -DCAPACITY=4

if "${long}"; then
  search "${beside}" sessions -DCOARSE -DDECLARED=1 -DSESSIONS=4 -DCAPACITY=5 \
    -DNO_SERVE_WHEN_DUE
  optimize=-O2
  depth=20000000
  echo "What must hold, in larger bounds:"
  search holds "${one_session[@]}" -DOPERATIONS=8 -DEPOCHS=4 -DROUNDS=2
  search holds magazines -DROUNDS=2
  search holds magazines -DROUNDS=1 -DTHREADS=3
  search holds pool_cache -DOPERATIONS=2
  search holds pool_cache -DOPERATIONS=2 -DFIRST=RECEIVE
  search holds pool_cache -DOPERATIONS=1 -DROUNDS=2
  search holds pool_cache -DOPERATIONS=3 -DSECOND=RECLAIM -DEPOCHS=3
  search holds sessions -DCOARSE -DSESSIONS=4 -DCAPACITY=3 -DRESERVE=2
  search holds sessions -DCOARSE -DLIVENESS -DSESSIONS=4 -DCANCELS=0
  search holds sessions -DLIVENESS -DSESSIONS=2 -DCAPACITY=3 -DRESERVE=2
  search holds sessions -DCOARSE -DDECLARED=1 -DCAPACITY=4
  echo "And as far as ${PART_MINUTES} minutes go:"
  search part pool_cache -DOPERATIONS=4 -DEPOCHS=3
  search part sessions
fi

if ((failed)); then echo "FAILED"; else echo "All as expected."; fi
exit "${failed}"
