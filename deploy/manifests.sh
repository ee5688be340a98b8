#!/bin/bash
# Renders the charts to plain manifests, for those who do not use Helm: deploy/manifests.sh [FOLDER]
# Also copies the CRDs, which are generated in crds/, into their chart.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
into=${1:-$root/deploy/manifests}
charts=$root/deploy/charts
mkdir -p "$into"
[ -n "${1:-}" ] || cp "$root/crds/generated/"*.yaml "$charts/agentgateway-crds/files/"

# render CHART OUTPUT [FIRST-OBJECT]. Nobody manages these objects with Helm, so they do not say so.
render() {
  {
    echo "# Rendered from deploy/charts/$1 with its default values by \`make manifests\`."
    [ -z "${3:-}" ] || printf -- '---\n%s\n' "$3"
    "$root/build/bin/kube" helm template agentgateway "$charts/$1" --namespace kgateway-system |
      sed -e '/^# Source: /d' -e '/app.kubernetes.io\/managed-by: Helm$/d'
  } >"$into/$2"
}

render agentgateway-crds agentgateway-crds.yaml
render agentgateway agentgateway.yaml "apiVersion: v1
kind: Namespace
metadata:
  name: kgateway-system
  labels:
    pod-security.kubernetes.io/enforce: restricted"
