#!/bin/bash
# Starts two clusters, uses them as the end-to-end tests do, removes them, and compares the machine with what it was.
# Needs root, and conformance/build.sh and conformance/images.sh before.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(dirname "$here")/build
testcluster=$build/bin/testcluster
one=smoke-$$-a two=smoke-$$-b
work=$(mktemp -d)
forward=

command -v curl >/dev/null || { echo "conformance/smoke.sh: missing: curl (apt-get install -y curl)" >&2; exit 1; }
for file in bin/testcluster bin/kube images/echo-basic.tar images/mcp-everything.tar images/python-mcp.tar; do
  [ -f "$build/$file" ] || { echo "conformance/smoke.sh: missing: $build/$file (conformance/build.sh, conformance/images.sh)" >&2; exit 1; }
done

begin=$(date +%s%N)
say() {
  local tenths=$((($(date +%s%N) - begin) / 100000000))
  printf '%5d.%d s  %s\n' $((tenths / 10)) $((tenths % 10)) "$*"
}
fail() {
  echo "smoke: FAILED: $*" >&2
  exit 1
}
kube() {
  local cluster=$1
  shift
  "$build/bin/kube" kubectl --kubeconfig "$build/clusters/$cluster/kubeconfig" "$@"
}
helm() { "$build/bin/kube" helm --kubeconfig "$build/clusters/$one/kubeconfig" "$@"; }

# The parts of the machine that a cluster touches. Other clusters may be up: only the two of this run must leave no trace.
machine() {
  echo "== interfaces and routes"
  ip -o link show | awk '{print $2}' | sort
  ip route show | sort
  echo "== network namespaces"
  ip netns list | sort
  echo "== mounts"
  awk '{print $2, $3}' /proc/mounts | sort
  echo "== control groups"
  find /sys/fs/cgroup -type d -name "*smoke-$$-*" | sort
  echo "== packet filter"
  nft list ruleset
  echo "== folders"
  for folder in /run /run/containerd /run/netns /var/lib /var/lib/cni /var/lib/kubelet /var/log /opt /usr/libexec; do
    { ls -1 "$folder" 2>/dev/null || true; } | sed "s|^|$folder/|"
  done
  ls -1 "$build/clusters" 2>/dev/null || true
  echo "== processes"
  pgrep -af "smoke-$$-" | grep -v smoke.sh || true
  echo "== forwarding"
  cat /proc/sys/net/ipv4/ip_forward
}
cleanup() {
  [ -z "$forward" ] || kill "$forward" 2>/dev/null || true
  "$testcluster" down "$one" "$two" || true
  rm -rf "$work"
}
mkdir -p "$build/clusters"
machine >"$work/before"
trap cleanup EXIT

say "two clusters at once"
"$testcluster" up "$one" >"$work/one" & first=$!
"$testcluster" up "$two" >"$work/two" || fail "$two does not start"
wait $first || fail "$one does not start"
grep -h " s  " "$work/one" "$work/two" | sed 's/^/           /'
[ "$(tail -1 "$work/one")" = "KUBECONFIG=$build/clusters/$one/kubeconfig" ] || fail "last line of up: $(tail -1 "$work/one")"

say "images"
"$testcluster" load "$one" "$build/images/"{echo-basic,mcp-everything,python-mcp}.tar >/dev/null
"$testcluster" load "$two" "$build/images/python-mcp.tar" >/dev/null
"$testcluster" images "$one" | grep -q testcluster.local/mcp-everything:1 || fail "image not listed"

say "pods under the restricted level"
kube "$one" apply --server-side -f "$here/smoke/echo.yaml" >/dev/null
kube "$one" -n smoke create configmap scripts --from-file "$here/smoke/client.py" >/dev/null
kube "$one" apply --server-side -f "$here/smoke/mcp.yaml" >/dev/null
kube "$one" -n smoke rollout status deployment/echo deployment/everything --timeout 90s >/dev/null
kube "$one" -n smoke wait --for condition=Ready pod/client --timeout 90s >/dev/null
if kube "$one" -n smoke run root --image testcluster.local/echo-basic:1 2>/dev/null; then fail "a pod without a security context is let into a restricted namespace"; fi

say "LoadBalancer address from the host"
address=$(kube "$one" -n smoke get service echo -o 'jsonpath={.status.loadBalancer.ingress[0].ip}')
curl -fsS --noproxy '*' --retry 10 --retry-delay 1 --retry-connrefused --max-time 5 "http://$address/path" | grep -q '"path": "/path"' || fail "no answer from $address"

say "MCP server from the host"
mcp=$(kube "$one" -n smoke get service everything -o 'jsonpath={.status.loadBalancer.ingress[0].ip}')
curl -fsS --noproxy '*' --max-time 10 "http://$mcp:3000/mcp" -H 'content-type: application/json' -H 'accept: application/json, text/event-stream' \
  -d '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"smoke","version":"1"}}}' |
  grep -q '"serverInfo"' || fail "no answer to initialize"

say "exec: cluster DNS and an MCP session from inside a pod"
kube "$one" -n smoke exec client -- /usr/local/bin/python3 /scripts/client.py | sed 's/^/           /'

say "logs"
kube "$one" -n smoke logs deployment/everything | grep -q 'listening on port 3000' || fail "no logs of a container"
"$testcluster" logs "$one" kubelet | grep -q 'Started kubelet' || fail "no log of the kubelet"

say "port-forward"
kube "$one" -n smoke port-forward --address 127.0.0.1 deployment/echo :80 >"$work/forward" 2>"$work/forward-errors" & forward=$!
for _ in $(seq 100); do
  port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$work/forward")
  [ -z "$port" ] || break
  sleep 0.1
done
curl -fsS --noproxy '*' --max-time 5 "http://127.0.0.1:$port/forwarded" | grep -q '"path": "/forwarded"' || fail "no answer through port-forward"
kill "$forward" && wait "$forward" 2>/dev/null || true
forward=

say "a pod of the second cluster reaches the first one's address"
kube "$two" run client --image testcluster.local/python-mcp:1 -- -c 'import time; time.sleep(3600)' >/dev/null
kube "$two" wait --for condition=Ready pod/client --timeout 60s >/dev/null
kube "$two" exec client -- /usr/local/bin/python3 -c "import urllib.request; print(urllib.request.urlopen('http://$address/', timeout=5).status)" | grep -q 200 || fail "no way from one cluster to the other"

say "Helm: install, upgrade, uninstall"
helm install demo "$here/smoke/chart" --wait --timeout 60s >/dev/null
helm upgrade demo "$here/smoke/chart" --set greeting=two --wait --timeout 60s >/dev/null
[ "$(kube "$one" get configmap demo -o 'jsonpath={.data.greeting}')" = two ] || fail "the upgrade did not arrive"
helm uninstall demo --wait --timeout 60s >/dev/null
kube "$one" get deployment demo >/dev/null 2>&1 && fail "the uninstalled deployment is still there"

say "a program that dies is started again"
"$testcluster" stop "$one" kube-apiserver
"$testcluster" list | grep "^$one " | grep -q 'degraded: no kube-apiserver' || fail "list does not show what is missing"
curl -fsS --noproxy '*' --max-time 5 "http://$address/" >/dev/null || fail "traffic stops without an API server"
"$testcluster" up "$one" >/dev/null
kube "$one" -n smoke get pod client >/dev/null || fail "pods are lost"

say "a container that dies is started again"
"$testcluster" kill "$one" smoke client client
for _ in $(seq 100); do
  restarts=$(kube "$one" -n smoke get pod client -o 'jsonpath={.status.containerStatuses[0].restartCount}')
  [ "$restarts" = 0 ] || break
  sleep 0.1
done
[ "$restarts" = 1 ] || fail "restarts of a killed container: $restarts"
kube "$one" -n smoke wait --for condition=Ready pod/client --timeout 60s >/dev/null
"$testcluster" kill "$one" smoke client nobody 2>/dev/null && fail "a container that is not there was killed"

say "Gateway API CRDs"
kube "$two" apply --server-side -f "$build/crds/experimental" >/dev/null
kube "$two" wait --for condition=Established crd/gateways.gateway.networking.k8s.io --timeout 30s >/dev/null

say "down"
"$testcluster" down "$one" "$two"
"$testcluster" down "$one"
machine >"$work/after"
diff "$work/before" "$work/after" || fail "the machine is not as it was before (above: < before, > after)"
say "nothing is left behind"
