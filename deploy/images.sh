#!/bin/bash
# Makes the images of both programs, from scratch, into build/images: deploy/images.sh FOLDER-OF-THE-PROGRAMS
# The names are the charts' default values.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
programs=${1:?folder of the programs}
version=$(sed -n 's/^appVersion: *//p' "$root/deploy/charts/agentgateway/Chart.yaml")
mkdir -p "$root/build/images"

for program in agentgateway agentgateway-controlplane; do
  if readelf -l "$programs/$program" 2>/dev/null | grep -q INTERP; then
    echo "deploy/images.sh: $programs/$program is not static; an image without a loader cannot run it" >&2
    exit 1
  fi
  "$root/build/bin/testcluster" image --name "agentgateway.dev/$program:$version" --user 10101:10101 \
    --entrypoint "/$program" --file "$programs/$program=/$program" -o "$root/build/images/$program.tar"
done
