#!/bin/bash
# Builds an OpenTelemetry collector, which tests of traces and logs send to, into <project>/build/bin. Safe to repeat; what it
# needs is pinned in go.sum.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(dirname "$(dirname "$here")")/build
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false

if ! command -v go >/dev/null; then
  echo "tests/otelcol/build.sh: go is missing (1.26 or newer)" >&2
  exit 1
fi
mkdir -p "$build/bin"
cd "$here"
go build -trimpath -gcflags "all=-dwarf=false -l" -ldflags "-s -w" -o "$build/bin/otelcol" .
