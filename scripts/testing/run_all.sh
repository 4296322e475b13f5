#!/usr/bin/env bash
# What `make test` runs, in the order in which a failure is cheapest to find.
set -euo pipefail
cd "$(dirname "$0")/../.."

# What takes how long, for whoever has to make room.
part() { printf '== after %d min: %s\n' $((SECONDS / 60)) "$*"; }

mkdir -p artifacts
lab_log=artifacts/lab-up.log
part "lint, and beside it the engine, the images and the registry ($lab_log)"
python -m lab up > "$lab_log" 2>&1 &
lab=$!
trap 'kill "$lab" 2>/dev/null || true; wait' EXIT
make lint
wait "$lab" || { tail -40 "$lab_log"; exit 1; }
scripts/install-test-tools.sh

# The images for the Raspberry Pi are built through emulation, and then an emulated Pi becomes a unit: both take so long
# that everything else happens beside them. What they say goes to these files, and is shown at the end.
build_log=artifacts/arm32v7-build.log pi_log=artifacts/molecule-pi.log
nice python -m lab up --flavours amd64,arm32v7 > "$build_log" 2>&1 &
build=$!
setsid nice sh -c 'tail --pid=$0 -f /dev/null; exec molecule test -s pi' "$build" > "$pi_log" 2>&1 &
pi=$!

# Another part has failed, or somebody has enough of it.
leave() {
  kill "$build" 2>/dev/null || true
  kill -- "-$pi" 2>/dev/null || true
  wait
  python -m lab vm destroy panoptes-pi
}
trap leave EXIT

# Each says which of its tests took long.
export PYTEST_ADDOPTS="--durations=15 --durations-min=5"
part "Python tests on this machine, without those of the transaction and of the module"
pytest -m "not lab" tests --ignore tests/fast/panoptes_unit/deploy --ignore tests/fast/panoptes_utils
part "the module's tests that the image has no programs for: a browser, a generator of requests"
pytest tests/fast/panoptes_utils/config/test_{page,openapi}.py
part "the transaction without Docker, on a fake engine: enough of its branches (the engine itself is tested in the lab)"
pytest -m "not lab" tests/fast/panoptes_unit/deploy \
  --cov=panoptes_unit.deploy --cov-branch --cov-report=json:artifacts/transaction.json
python scripts/testing/require_branches.py artifacts/transaction.json 90 --without panoptes_unit/deploy/engine.py
part "the module's tests inside the panoptes-utils image"
python -m lab test-image
# Before the lab is used, because a tag that moves during a test is a release that has changed.
part "waiting for the arm32v7 images ($build_log)"
wait "$build" || { tail -40 "$build_log"; exit 1; }
part "tests on the lab"
pytest -m lab tests
for scenario in default update; do
  part "Molecule scenario $scenario"
  molecule test -s "$scenario"
done
part "Molecule scenario pi: waiting for its end ($pi_log)"
wait "$pi" || { tail -300 "$pi_log"; exit 1; }
trap - EXIT
sed -n '/test session starts/,$p' "$pi_log"
