#!/bin/bash
# Builds what a test cluster is made of, into <project>/build: the programs, the pause image, the Gateway API CRDs and
# its echo server; with the argument `suite` also the Gateway API's conformance suite, three more minutes of processor time.
# Safe to repeat; with warm caches it takes seconds, with empty ones eight minutes of processor time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(dirname "$here")/build
export CGO_ENABLED=0 GOFLAGS=-buildvcs=false

if ! command -v go >/dev/null; then
  echo "conformance/build.sh: go is missing (1.26 or newer)" >&2
  exit 1
fi
mkdir -p "$build/bin" "$build/images" "$build/crds"

# step NAME COMMAND...: runs a command and says how long it took.
step() {
  local name=$1 begin=$SECONDS
  shift
  echo "conformance: $name ..."
  "$@"
  echo "conformance: $name: $((SECONDS - begin)) s"
}

# compile MODULE OUTPUT PACKAGE LDFLAGS. Debug information is not made at all, and nothing is inlined: a third less
# processor time for Kubernetes. All programs take the same flags, so that the standard library is compiled once.
compile() {
  (cd "$here/$1" && go build -trimpath -gcflags "all=-dwarf=false -l" -ldflags "-s -w ${4:-}" -o "$build/bin/$2" "$3")
}

# The conformance suite is a test binary, with the same flags.
compile_suite() {
  (cd "$here/suite" && go test -c -trimpath -vet=off -gcflags "all=-dwarf=false -l" -ldflags "-s -w" -o "$build/bin/conformance.test" .)
}

# Kubernetes programs report the version that the linker writes into them; without one they call themselves v0.0.0.
compile_kube() {
  local version major minor base=k8s.io/component-base/version
  version=$(cd "$here/kube" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
  IFS=. read -r major minor _ <<<"${version#v}"
  compile kube kube . "-X $base.gitVersion=$version -X $base.gitMajor=$major -X $base.gitMinor=$minor -X $base.gitTreeState=clean -X k8s.io/client-go/pkg/version.gitVersion=$version"
}

# suite_image PROGRAM FLAG...: its image, by every name that the manifests of the suite's module give it.
suite_image() {
  local program=$1 module names
  shift
  module=$(cd "$here/suite" && go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api/conformance)
  names=$(grep -rhoE --include='*.yaml' "[^ ]+/$program:[^ ]+" "$module" | sort -u | paste -sd,)
  "$build/bin/testcluster" image --name "testcluster.local/$program:1,$names" --entrypoint "/$program" \
    --file "$build/bin/$program=/$program" "$@" -o "$build/images/$program.tar"
}

# The kustomization beside the CRDs is left out: `kubectl apply -f FOLDER` would apply everything and then fail on it.
copy_crds() {
  local module channel
  module=$(cd "$here/suite" && go mod download sigs.k8s.io/gateway-api && go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)
  for channel in standard experimental; do
    rm -rf "${build:?}/crds/$channel"
    mkdir "$build/crds/$channel"
    cp "$module/config/crd/$channel/"gateway*.yaml "$build/crds/$channel/"
    chmod 644 "$build/crds/$channel/"*
  done
}

step testcluster compile . testcluster ./cmd/testcluster
step pause compile . pause ./cmd/pause
"$build/bin/testcluster" image --name testcluster.local/pause:1 --entrypoint /pause --user 65535:65535 \
  --file "$build/bin/pause=/pause" -o "$build/images/pause.tar"
step "Gateway API CRDs" copy_crds
step echo-basic compile suite echo-basic sigs.k8s.io/gateway-api/conformance/echo-basic
suite_image echo-basic
step "Kubernetes (about 4 minutes on 2 cores with an empty cache)" compile_kube
if [ "${1:-}" = suite ]; then
  step "CoreDNS" compile coredns coredns .
  # The suite's manifest lets it bind port 53 by a capability, which counts for root alone.
  suite_image coredns --user 0:0
  step "conformance suite (2 minutes on 2 cores with an empty cache)" compile_suite
fi
