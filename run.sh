#!/usr/bin/env bash
# ./run.sh [ronda arguments]   install what is missing, build, start rondad for this user unless
#                              one answers, then do what `ronda` is asked to
# ./run.sh demo                a source and ten guests on one machine
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/packages.sh
. "$root/tests/packages.sh"
build=${BUILD:-build}
case $build in /*) ;; *) build=$root/$build ;; esac

quietly() { # COMMAND... : its output is shown only when it fails
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    rm -f "$log"
    echo "failed: $*" >&2
    return 1
  fi
  rm -f "$log"
}

build_ronda() {
  [ -x "$build/ronda" ] || echo "Building (the first time takes a minute)" >&2
  if [ ! -f "$build/build.ninja" ]; then
    # The tests, and what they need, are not for those who only want to run it.
    quietly cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DRONDA_TESTS=OFF
  fi
  quietly cmake --build "$build" --target rondad ronda
}

daemon_answers() { "$build/ronda" status >/dev/null 2>&1 </dev/null; }

start_daemon() {
  local state=${XDG_STATE_HOME:-$HOME/.local/state}/ronda log pid i
  daemon_answers && return 0
  (umask 077 && mkdir -p "$state")
  log=$state/rondad.log
  # A session of its own: it stays when this shell or terminal goes.
  setsid nohup "$build/rondad" >>"$log" 2>&1 </dev/null &
  pid=$!
  for ((i = 0; i < 150; i++)); do
    if daemon_answers; then
      echo "rondad runs (pid $pid, log: $log)" >&2
      return 0
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 10 "$log" >&2
  echo "rondad did not start; its log: $log" >&2
  return 1
}

wants_daemon() { # ARGS... : not for help and version, nor for a daemon elsewhere
  local arg
  [ -z "${RONDA_SOCKET:-}" ] || return 1
  for arg in "$@"; do
    case $arg in
    --socket | --socket=* | -h | --help | --version) return 1 ;;
    -*) ;;
    help | version) return 1 ;;
    *) return 0 ;;
    esac
  done
}

packages_need "${packages_build[@]}"
if [ "${1:-}" = demo ]; then
  packages_need "${packages_demo[@]}"
  build_ronda
  BUILD=$build exec /usr/bin/python3 "$root/tests/lab/demo.py" "${@:2}"
fi
build_ronda
if wants_daemon "$@"; then
  start_daemon
fi
if [ $# -eq 0 ]; then
  "$build/ronda" help
  echo
  exec "$build/ronda" ls
fi
exec "$build/ronda" "$@"
