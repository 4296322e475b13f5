#!/usr/bin/env bash
# What `make test` runs after lint and with the lab up, in the order in which a failure is cheapest to find.
set -euo pipefail
cd "$(dirname "$0")/../.."

scripts/testing/install-test-tools.sh
echo "== Python tests on this machine"
pytest tests
echo "== the module's tests inside the panoptes-utils image"
python molecule/lab test-image
echo "== Molecule"
for scenario in default; do
  molecule test -s "$scenario"
done
