#!/bin/bash
# Builds servers that policies ask, from Envoy's own modules, into <project>/build/bin: its rate limit service, and ours on its
# messages for external processing and authorization. Safe to repeat; what it needs is pinned in go.sum.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(dirname "$(dirname "$here")")/build
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false

if ! command -v go >/dev/null; then
  echo "tests/ratelimit/build.sh: go is missing (1.26 or newer)" >&2
  exit 1
fi
mkdir -p "$build/bin"
cd "$here"
build() { go build -trimpath -gcflags "all=-dwarf=false -l" -ldflags "-s -w" -o "$build/bin/$1" "$2"; }
build ratelimit github.com/envoyproxy/ratelimit/src/service_cmd
build envoy-services ./envoyservices
