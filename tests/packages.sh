# Which Debian packages what needs, and how they get installed. Sourced by run.sh,
# test.sh and .ci/run: the only list there is. "a|b": either will do.
# shellcheck shell=bash disable=SC2034

packages_build=(gcc libc6-dev cmake ninja-build "pkg-config|pkgconf" libevent-dev libssl-dev
  libxxhash-dev libavahi-core-dev libavahi-client-dev libjansson-dev libinih-dev libsystemd-dev
  "libcurl4-openssl-dev|libcurl4-gnutls-dev")
# Intel's multi-buffer library: SHA-256 three times as fast. The build does without it.
if [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ]; then packages_build+=(libipsec-mb-dev); fi
packages_demo=(python3 iproute2 curl)
packages_test=("${packages_demo[@]}" libcriterion-dev python3-pytest python3-libtorrent binutils
  avahi-daemon avahi-utils dbus-daemon systemd systemd-container debootstrap)
# libclang-rt: what clang's sanitizers and libFuzzer link; llvm: names in their traces.
packages_clang=(clang libclang-rt-dev llvm)
packages_ci=("${packages_test[@]}" "${packages_clang[@]}" clang-format clang-tidy cppcheck
  shellcheck git)
# tests/bench/bench.py names those it lacks, and installs them when told to.
packages_bench=(aria2 curl iperf3 nginx-light openssl python3-libtorrent rsync syncthing
  transmission-cli transmission-daemon udpcast)

package_installed() { # NAME[|NAME]
  local name
  for name in ${1//|/ }; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] && return 0
  done
  return 1
}

packages_need() { # NAME... : installs what is missing; says and asks nothing when nothing is
  local name missing=() as_root=() log
  for name in "$@"; do
    package_installed "$name" || missing+=("${name%%|*}")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
      echo "Some packages are missing. As root, run:" >&2
      echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
      return 1
    fi
    as_root=(sudo -n)
  fi
  echo "Installing ${missing[*]}" >&2
  log=$(mktemp)
  # Package lists may be absent (a fresh container) or too old: only then are they fetched.
  if ! packages_install "${missing[@]}" >"$log" 2>&1; then
    "${as_root[@]}" apt-get update >>"$log" 2>&1 </dev/null || true
    if ! packages_install "${missing[@]}" >>"$log" 2>&1; then
      tail -n 30 "$log" >&2
      rm -f "$log"
      echo "apt-get could not install ${missing[*]}" >&2
      return 1
    fi
  fi
  rm -f "$log"
}

packages_install() { # NAME... ; as_root is the caller's
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy \
    --no-install-recommends "$@" </dev/null
}
