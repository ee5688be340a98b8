#!/bin/bash
# Builds h2spec, the conformance suite of HTTP/2 (RFC 9113's forerunner RFC 7540, and HPACK), into <project>/build/bin. Safe to
# repeat; what it needs is pinned in h2spec/go.sum.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(dirname "$here")/build
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false

if ! command -v go >/dev/null; then
  echo "conformance/h2spec.sh: go is missing (1.26 or newer)" >&2
  exit 1
fi
mkdir -p "$build/bin"
cd "$here/h2spec"
go build -trimpath -ldflags "-s -w" -o "$build/bin/h2spec" github.com/summerwind/h2spec/cmd/h2spec
