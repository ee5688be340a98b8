#!/usr/bin/env bash
# Installs the suite below build/mcp-conformance. Safe to repeat: what is there and right is left as it is.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$here/../../build/mcp-conformance
mkdir -p "$folder"
if cmp -s "$here/package.json" "$folder/package.json" && [ -x "$folder/node_modules/.bin/node" ]; then exit 0; fi
cp "$here/package.json" "$folder/package.json"
npm install --prefix "$folder" --no-audit --no-fund --silent
