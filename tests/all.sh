#!/bin/bash
# Every test of the project, in an order that keeps two cores busy; what `make test` and CI run. Logs are in build/logs.
# Environment: PROFILE (ci), AGENTGATEWAY_FAULT_SECONDS (20).
set -uo pipefail
cd "$(dirname "$0")/.."
export PROFILE=${PROFILE:-ci} AGENTGATEWAY_FAULT_SECONDS=${AGENTGATEWAY_FAULT_SECONDS:-20}
target=${CARGO_TARGET_DIR:-target}/$(uname -m)-unknown-linux-gnu
programs=$PWD/$target/$PROFILE
[[ $target == /* ]] && programs=$target/$PROFILE
[ "$PROFILE" != dev ] || programs=${programs%/dev}/debug
export AGENTGATEWAY_BIN=$programs/agentgateway CONTROLPLANE_BIN=$programs/agentgateway-controlplane
cargo=${CARGO:-cargo}
python=build/tests/venv/bin/python
pytest=("$python" -m pytest -c tests/pytest.ini -p no:cacheprovider)
# Short rounds, and without link-time optimisation: a gross loss is seen here, the figure itself comes from `make bench`.
bench=(bench/proxy.py --binary "$AGENTGATEWAY_BIN" --bare "$programs/bare-proxy" --rounds 5 --seconds 2 --ratio-limit 1.5 --profile "$PROFILE")
logs=build/logs
mkdir -p "$logs"
rm -f "$logs"/*.log
failed=() left_out=()

say() { printf '=== %4d s  %s\n' "$SECONDS" "$*"; }
# step NAME COMMAND...: runs it, shows and keeps its output, and goes on when it fails.
step() {
  local name=$1 begin=$SECONDS
  shift
  say "$name"
  if "$@" 2>&1 | tee "$logs/${name// /-}.log"; then
    say "$name: $((SECONDS - begin)) s"
  else
    failed+=("$name")
    say "$name: FAILED after $((SECONDS - begin)) s"
    return 1
  fi
}

root=true
[ "$(id -u)" = 0 ] || root=false
parts=(build run bench deploy)
$root && parts+=(cluster)
step "Debian packages" tests/setup/debian.sh "${parts[@]}" || exit 1

# Both builds are bound by the processor, but each has stretches on one core (linking, long chains of crates) that the
# other fills. Kubernetes is built behind, the programs in front; then the packages that tests need.
tools=
if $root; then
  (conformance/build.sh suite && conformance/images.sh) >"$logs/cluster-tools.log" 2>&1 &
  tools=$!
else
  left_out+=("the tests on a cluster (tests/cluster, charts and faults): they need root")
fi
# All targets at once, so that programs and tests share one build of everything that they depend on.
step "build" "$cargo" build --profile "$PROFILE" --workspace --all-targets || exit 1
step "packages" tests/setup.sh || exit 1
step "crates" "$cargo" test --profile "$PROFILE" --workspace
step "end to end" "${pytest[@]}" tests
step "quickstart" python3 examples/quickstart/run.py "$programs" build/tests/node/node_modules "$python" --check
if $root; then
  say "waiting for the cluster's programs"
  if wait $tools; then
    # Now nothing else runs, so that the ratio is that of the programs.
    step "bench" "${bench[@]}"
    sed 's/^/    /' "$logs/cluster-tools.log" | grep ' s$'
    step "images" deploy/images.sh "$programs" &&
      { step "deploy and cluster" "${pytest[@]}" -n 0 --timeout 300 --durations 5 tests/deploy tests/cluster
        step "conformance" "$python" conformance/run.py --check; }
  else
    tail -20 "$logs/cluster-tools.log"
    failed+=("cluster tools")
  fi
else
  step "bench" "${bench[@]}"
  step "deploy" "${pytest[@]}" -n 0 tests/deploy
fi

for what in "${left_out[@]}"; do say "LEFT OUT: $what"; done
for name in "${failed[@]}"; do say "FAILED: $name (build/logs)"; done
# The sum of what cargo ("test result: ok. 5 passed; 0 failed") and pytest ("5 passed, 1 failed in 2 s") count.
cat "$logs"/*.log | sed 's/\x1b\[[0-9;]*m//g' | awk -v broken=${#failed[@]} -v seconds=$SECONDS '
  /^test result:/ { passed += $4; failed += $6 }
  # conformance/run.py: "  270.2 s  129 passed, 0 failed, 24 of features that are not claimed".
  / passed, [0-9]+ failed, [0-9]+ of features/ { passed += $3; failed += $5 }
  /^=+ .* in [0-9.]+s/ {
    for (i = 1; i < NF; i++) if ($(i + 1) ~ /^passed/) passed += $i; else if ($(i + 1) ~ /^(failed|errors?)/) failed += $i
  }
  END {
    # A step may fail without a failed test: a build, a check.
    if (broken > failed) failed = broken
    printf "=== %4d s  everything\n%d passed, %d failed\n", seconds, passed, failed
    exit failed > 0
  }'
