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

# Without HOME the account says where it is; a runtime directory that is not there is none.
settle_environment() {
  if [ -z "${HOME:-}" ]; then
    HOME=$(getent passwd "$(id -u)" | cut -d: -f6) || HOME=
    [ -d "$HOME" ] || {
      echo "HOME is not set, and the account has none: set HOME to a directory of yours" >&2
      return 1
    }
    export HOME
  fi
  if [ -n "${XDG_RUNTIME_DIR:-}" ] && [ ! -d "$XDG_RUNTIME_DIR" ]; then
    echo "XDG_RUNTIME_DIR is $XDG_RUNTIME_DIR, which is not there:" \
      "the socket goes to /tmp/ronda-$(id -u)" >&2
    unset XDG_RUNTIME_DIR
  fi
}

daemon_answers() { "$build/ronda" status >/dev/null 2>&1 </dev/null; }

# The first neighbours take a moment to be found: up to 3 s, until one has said what it has.
await_neighbours() {
  local i status
  for ((i = 0; i < 15; i++)); do
    status=$("$build/ronda" --json status 2>/dev/null </dev/null) || return 0
    [[ $status =~ \"hosts_asked\":\ *[1-9] && $status =~ \"hosts_waiting\":\ *0[,}] ]] && return 0
    sleep 0.2
  done
}

started=false
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
      started=true
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

lists_shares() { # ARGS...
  local arg
  for arg in "$@"; do
    [ "$arg" = ls ] && return 0
    [[ $arg = -* ]] || return 1
  done
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

hints=false
packages_need "${packages_build[@]}"
if [ "${1:-}" = demo ]; then
  packages_need "${packages_demo[@]}"
  build_ronda
  BUILD=$build exec /usr/bin/python3 "$root/tests/lab/demo.py" "${@:2}"
fi
build_ronda
if [ $# -eq 0 ]; then
  set -- ls
  hints=true
fi
if wants_daemon "$@"; then
  settle_environment
  start_daemon
fi
if $started && lists_shares "$@"; then
  await_neighbours
fi
if $hints; then
  code=0
  "$build/ronda" ls || code=$?
  cat <<EOF

./run.sh share PATH     everybody on this network can fetch it then
./run.sh get NAME       fetch what is listed above into this directory
./run.sh help           all the commands
EOF
  exit $code
fi
exec "$build/ronda" "$@"
