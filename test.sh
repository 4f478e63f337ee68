#!/usr/bin/env bash
# ./test.sh [--preset NAME] [suite...]
#
#   unit      Criterion suites, and what else ctest knows
#   purity    who may include and call whom
#   sim       the scheduler among virtual peers
#   smoke     the lab's shortest cases
#   bench     what the benchmarks conclude, and how they are called; measures nothing
#   lab       real daemons in network namespaces
#   interop   against other people's programs
#
# Without a suite: all of them (smoke is part of lab). Installs what is missing and builds first.
# BUILD=dir overrides the build directory of the preset (release: build, asan: build-asan, ...).
# The last line is "N passed, M failed, K skipped"; exits non-zero when anything failed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$root"
# shellcheck source=tests/packages.sh
. tests/packages.sh

preset=release
suites=()
while [ $# -gt 0 ]; do
  case $1 in
  --preset) preset=${2:?--preset needs a name} && shift ;;
  --preset=*) preset=${1#*=} ;;
  unit | purity | sim | smoke | bench | lab | interop) suites+=("$1") ;;
  -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" && exit 0 ;;
  *) echo "test.sh: no suite '$1'; there are: unit purity sim smoke bench lab interop" >&2 && exit 2 ;;
  esac
  shift
done
[ ${#suites[@]} -gt 0 ] || suites=(unit purity sim bench lab interop)

build=${BUILD:-build$([ "$preset" = release ] || echo "-$preset")}
case $build in /*) ;; *) build=$root/$build ;; esac
export BUILD=$build PYTHONDONTWRITEBYTECODE=1
# What a sanitizer finds is an exit code, so that a test can see it.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:abort_on_error=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

build_all() {
  packages_need "${packages_build[@]}" "${packages_test[@]}"
  case $preset in clang | fuzz) packages_need "${packages_clang[@]}" ;; esac
  if ! { cmake --preset "$preset" -B "$build" -DRONDA_TESTS=ON && cmake --build "$build"; } \
    >"$results/build.log" 2>&1 </dev/null; then
    grep -E -A20 'FAILED|error|Error' "$results/build.log" | head -n 100 >&2 ||
      tail -n 50 "$results/build.log" >&2
    echo "the build failed"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
  fi
}

run_ctest() { # SUITE ARGS...
  local suite=$1
  shift
  ctest --test-dir "$build" "$@" -j "$(nproc)" --timeout 600 --output-on-failure \
    --test-output-size-passed 100000000 --test-output-size-failed 100000000 \
    --output-junit "$results/$suite.xml" --no-tests=ignore </dev/null
}

run_pytest() { # SUITE ARGS...
  local suite=$1 prefix=()
  shift
  [ -d "$1" ] || { echo "no $1 yet" && return 0; }
  # Without root the lab lives in a user namespace.
  [ "$(id -u)" -eq 0 ] || prefix=(unshare -Urnm --)
  "${prefix[@]}" /usr/bin/python3 -m pytest -q -rfEs --tb=short -p no:cacheprovider \
    --junitxml="$results/$suite.xml" "$@" </dev/null
}

run_suite() { # SUITE
  case $1 in
  unit) run_ctest unit -E '^(purity|sim)' ;;
  purity) run_ctest purity -R '^purity' ;;
  sim) run_ctest sim -R '^sim' ;;
  smoke) run_pytest smoke tests/lab -m smoke ;;
  bench) run_pytest bench tests/bench ;;
  lab) run_pytest lab tests/lab ;;
  interop) run_pytest interop tests/interop ;;
  esac
}

build_all
broken=0
for suite in "${suites[@]}"; do
  echo "=== $suite ($preset)"
  started=$SECONDS
  # The tally below knows the single failures; a suite that fails without any broke down.
  if ! run_suite "$suite"; then
    if ! /usr/bin/python3 tests/tally.py --failed "$results/$suite.xml"; then
      echo "$suite: broke down before it could count"
      broken=$((broken + 1))
    fi
  fi
  echo "--- $suite took $((SECONDS - started)) s"
done
/usr/bin/python3 tests/tally.py --broken "$broken" "$results"/*.xml
