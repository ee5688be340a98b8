#!/bin/bash
# Installs the Debian packages that the given parts of the project need, and only those whose programs are missing:
# tests/setup/debian.sh PART...   with parts build, run, cluster, bench, deploy. Without root it says what is missing.
# Rust, Go, Node and Python themselves are the machine's affair; a missing one is named.
set -euo pipefail

packages=() absent=()
# need FILE-OR-PROGRAM PACKAGE
need() {
  if [[ $1 == /* ]]; then [ -e "$1" ]; else command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]; fi || packages+=("$2")
}
# toolchain PROGRAM WHAT
toolchain() { command -v "$1" >/dev/null || absent+=("$1: $2"); }

for part in "$@"; do
  case $part in
    build)
      toolchain cargo "Rust 1.95 or newer"
      need cc gcc
      # The programs are linked statically against glibc.
      need "/usr/lib/$(uname -m)-linux-gnu/libc.a" libc6-dev
      need readelf binutils
      ;;
    run)
      toolchain node "Node 20 or newer (Debian: nodejs)"
      toolchain npm "Debian: npm"
      toolchain python3 "Python 3.11 or newer (Debian: python3)"
      need curl curl
      # Tests of global limits run the server out of these tools; the server's own package would start a service.
      need redis-check-rdb redis-tools
      command -v python3 >/dev/null && { python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv); }
      ;;
    cluster)
      toolchain go "Go 1.26 or newer"
      need containerd containerd
      need runc runc
      need /usr/lib/cni/bridge containernetworking-plugins
      need iptables iptables
      need nft nftables
      need ip iproute2
      need nsenter util-linux
      command -v python3 >/dev/null && { python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip); }
      ;;
    bench)
      need nginx nginx-light
      need wrk wrk
      need h2load nghttp2-client
      need openssl openssl
      ;;
    deploy)
      need systemd-analyze systemd
      ;;
    *)
      echo "$0: no part $part" >&2
      exit 2
      ;;
  esac
done

if ((${#absent[@]})); then
  printf 'missing: %s\n' "${absent[@]}" >&2
  exit 1
fi
((${#packages[@]})) || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "missing Debian packages; as root: apt-get install --no-install-recommends ${packages[*]}" >&2
  exit 1
fi
begin=$SECONDS
echo "setup: Debian packages ${packages[*]} ..."
export DEBIAN_FRONTEND=noninteractive
# The lists of a fresh machine may be missing or old.
apt-get install -y -q --no-install-recommends "${packages[@]}" >/dev/null 2>&1 || {
  apt-get update -q >/dev/null
  apt-get install -y -q --no-install-recommends "${packages[@]}" >/dev/null
}
echo "setup: Debian packages: $((SECONDS - begin)) s"
