#!/usr/bin/env bash
# Installs what the end-to-end tests need below build/tests: a Python environment, MCP servers from npm, and a warm cache
# for `uvx`. Safe to repeat: what is there and right is left as it is.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
into=${AGENTGATEWAY_TESTS_ENV:-$here/../build/tests}
mkdir -p "$into"
into=$(cd "$into" && pwd)

lacking=()
for tool in python3 node npm; do
    command -v "$tool" >/dev/null || lacking+=("$tool")
done
if ((${#lacking[@]})); then
    echo "the tests need: ${lacking[*]} (Debian: apt-get install python3 python3-venv nodejs npm)" >&2
    exit 1
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "the tests need Python 3.11 or newer; found $(python3 --version)" >&2
    exit 1
}

# The stamp holds the pins and the interpreter, so that a change of either installs anew.
stamp() { { cat "$@"; python3 --version; node --version; } | sha256sum | cut -d' ' -f1; }
unchanged() { [[ -f $1 && $(<"$1") == "$2" ]]; }

python_stamp=$(stamp "$here/requirements.txt")
if unchanged "$into/python.stamp" "$python_stamp"; then
    echo "[1/5] Python packages: there"
else
    echo "[1/5] Python packages: installing $(grep -c == "$here/requirements.txt") pinned packages from PyPI"
    python3 -m venv --clear "$into/venv"
    "$into/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements.txt"
    "$into/venv/bin/pip" check >/dev/null
    echo "$python_stamp" >"$into/python.stamp"
fi

node_stamp=$(stamp "$here/package.json" "$here/package-lock.json")
if unchanged "$into/node.stamp" "$node_stamp"; then
    echo "[2/5] MCP servers from npm: there"
else
    echo "[2/5] MCP servers from npm: installing"
    mkdir -p "$into/node"
    cp "$here/package.json" "$here/package-lock.json" "$into/node/"
    (cd "$into/node" && npm ci --silent --no-audit --no-fund --ignore-scripts)
    echo "$node_stamp" >"$into/node.stamp"
fi

uvx_stamp=$(stamp "$here/requirements.txt")
if unchanged "$into/uvx.stamp" "$uvx_stamp"; then
    echo "[3/5] cache of uvx: there"
else
    echo "[3/5] cache of uvx: fetching mcp-server-time once, so that the tests need no network"
    UV_CACHE_DIR=$into/uv UV_NO_PROGRESS=1 "$into/venv/bin/uvx" --quiet mcp-server-time --help >/dev/null
    echo "$uvx_stamp" >"$into/uvx.stamp"
fi
if command -v go >/dev/null; then
    echo "[4/5] services in Go: building what is not built"
    "$here/ratelimit/build.sh"
    "$here/otelcol/build.sh"
else
    echo "[4/5] services in Go: left out, their tests need Go 1.26 or newer"
fi
for version in v1 v03; do
    requirements=$here/a2a/requirements-$version.txt
    a2a_stamp=$(stamp "$requirements")
    if unchanged "$into/a2a-$version.stamp" "$a2a_stamp"; then
        echo "[5/5] A2A SDK $version: there"
    else
        echo "[5/5] A2A SDK $version: installing from PyPI into an environment of its own"
        python3 -m venv --clear "$into/a2a-$version"
        "$into/a2a-$version/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$requirements"
        "$into/a2a-$version/bin/pip" check >/dev/null
        echo "$a2a_stamp" >"$into/a2a-$version.stamp"
    fi
done
echo "the tests are set up in $into"
