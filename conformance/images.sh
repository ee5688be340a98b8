#!/bin/bash
# Makes the images of the MCP servers and clients that tests run, into <project>/build/images. What they hold is pinned in
# conformance/images; interpreters are those of this machine. Safe to repeat: nothing is done for an image whose pins and
# interpreter are those that it was made of.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(dirname "$here")/build
stage=$build/stage
testcluster=$build/bin/testcluster
mkdir -p "$build/images" "$stage"

missing=()
command -v node >/dev/null || missing+=("node (Debian: nodejs)")
command -v npm >/dev/null || missing+=("npm (Debian: npm)")
command -v python3 >/dev/null || missing+=("python3 (Debian: python3)")
python3 -m pip --version >/dev/null 2>&1 || missing+=("pip for python3 (Debian: python3-pip)")
[ -x "$testcluster" ] || missing+=("$testcluster (run conformance/build.sh)")
if [ ${#missing[@]} -gt 0 ]; then
  printf 'conformance/images.sh: missing: %s\n' "${missing[@]}" >&2
  exit 1
fi

# fresh IMAGE INPUT...: whether the image was made of these very files and words.
fresh() {
  local image=$1 input
  shift
  sum=$({ for input in "$@"; do if [ -f "$input" ]; then sha256sum <"$input"; else echo "$input"; fi; done; } | sha256sum)
  [ -f "$build/images/$image.tar" ] && [ "$(cat "$stage/$image.sum" 2>/dev/null)" = "$sum" ]
}

# made IMAGE: to be called after `fresh` said no and the image was made.
made() { echo "$sum" >"$stage/$1.sum"; }

mcp_everything() {
  local pins=$here/images/mcp-everything work=$stage/mcp-everything
  if fresh mcp-everything "$0" "$here/internal/image/"[a-z]*.go "$pins/package.json" "$pins/package-lock.json" "$(node --version)"; then return; fi
  echo "conformance: image mcp-everything ..."
  rm -rf "$work" && mkdir "$work" && cp "$pins"/package*.json "$pins/.npmrc" "$work"
  (cd "$work" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error)
  "$testcluster" image --name testcluster.local/mcp-everything:1 \
    --entrypoint /usr/local/bin/node --entrypoint /app/node_modules/@modelcontextprotocol/server-everything/dist/index.js \
    --cmd streamableHttp --env PORT=3000 --env NODE_ENV=production --workdir /app \
    --elf "$(readlink -f "$(command -v node)")=/usr/local/bin/node" --elf-tree "$work/node_modules=/app/node_modules" \
    --exclude __tests__ --exclude .bin --exclude '*.map' --exclude '*.d.ts' --exclude '*.d.mts' --exclude '*.d.cts' \
    -o "$build/images/mcp-everything.tar"
  made mcp-everything
}

python_mcp() {
  local pins=$here/images/python-mcp work=$stage/python-mcp program library version
  # The first python3 of the path may be a script that looks for the real one.
  program=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
  library=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
  version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  if fresh python-mcp "$0" "$here/internal/image/"[a-z]*.go "$pins/requirements.txt" "$(python3 -VV)" "$program"; then return; fi
  echo "conformance: image python-mcp ..."
  rm -rf "$work" && mkdir -p "$work/python$version"
  tar -C "$library" --exclude=./site-packages --exclude=./dist-packages --exclude=__pycache__ --exclude=./test --exclude=tests \
    --exclude=./idlelib --exclude=./tkinter --exclude='_tkinter*.so' --exclude=./turtledemo --exclude=./ensurepip \
    --exclude=./lib2to3 --exclude='./config-*' --exclude='_test*.so' -cf - . | tar -C "$work/python$version" -xf -
  PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-compile --only-binary :all: --require-hashes --no-deps \
    --root-user-action ignore --target "$work/python$version/site-packages" -r "$pins/requirements.txt"
  # Compiled once here: with a read-only root every start would compile again, a third of a second for the MCP package.
  python3 -m compileall -q --invalidation-mode unchecked-hash -s "$work" -p /usr/local/lib "$work/python$version"
  "$testcluster" image --name testcluster.local/python-mcp:1 --entrypoint /usr/local/bin/python3 \
    --env PYTHONUNBUFFERED=1 --env PYTHONDONTWRITEBYTECODE=1 --env PYTHONHOME=/usr/local \
    --env "PYTHONPATH=/usr/local/lib/python$version/site-packages" --workdir /tmp \
    --elf "$program=/usr/local/bin/python3" --elf-tree "$work/python$version=/usr/local/lib/python$version" \
    --exclude '*.pyi' --exclude bin -o "$build/images/python-mcp.tar"
  made python-mcp
}

mcp_everything
python_mcp
