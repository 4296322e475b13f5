#!/usr/bin/env bash
# What `make test` runs after lint and with the lab up, in the order in which a failure is cheapest to find.
set -euo pipefail
cd "$(dirname "$0")/../.."

scripts/install-test-tools.sh

# The images for the Raspberry Pi are built through emulation, which takes minutes: beside the tests that need no lab.
# It is finished before the lab is used, because a tag that moves during a test is a release that has changed.
mkdir -p artifacts
nice python molecule/lab up --flavours amd64,arm32v7 > artifacts/arm32v7-build.log 2>&1 &
build=$!
trap 'kill "$build" 2>/dev/null || true' EXIT

echo "== Python tests on this machine"
pytest -m "not lab" tests
echo "== the module's tests inside the panoptes-utils image"
python molecule/lab test-image
echo "== waiting for the arm32v7 images (artifacts/arm32v7-build.log)"
wait "$build" || { tail -40 artifacts/arm32v7-build.log; exit 1; }
trap - EXIT
echo "== tests on the lab"
pytest -m lab tests
for scenario in default update; do
  echo "== Molecule scenario $scenario"
  molecule test -s "$scenario"
done
