#!/usr/bin/env bash
# Makes a virtual environment of this checkout: scripts/make-venv.sh DIRECTORY [EXTRAS]
# EXTRAS are those of setup.py, with commas; all that developers need if none are named.
# Installs python3-venv first where the machine lacks it (Debian and Ubuntu split it off).
set -euo pipefail

dir=${1:?usage: make-venv.sh DIRECTORY [EXTRAS]}
extras=${2:-services,images,deploy,tests,docs}
python=${PYTHON:-python3}
top=$(cd "$(dirname "$0")/.." && pwd)

command -v "$python" >/dev/null || python=/usr/bin/python3
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  as_root=$([ "$(id -u)" -eq 0 ] && echo "" || echo sudo)
  echo "make-venv: installing python3-venv"
  $as_root apt-get update -qq
  $as_root apt-get install -y -qq --no-install-recommends python3 python3-venv
  python=/usr/bin/python3
fi
"$python" - <<'PYTHON'
import sys
if sys.version_info < (3, 11):
    sys.exit(f"make-venv: Python {sys.version.split()[0]} is too old for the controller; "
             "install 3.11 or later and name it: make PYTHON=python3.12 …")
PYTHON

# The stamp says which list of packages is complete, so that an interrupted install is done again.
want=$({ cat "$top/setup.py" "$top/panoptes_utils/VERSION"; echo "$extras"; } | sha256sum | cut -d' ' -f1)
if [ -x "$dir/bin/python" ] && [ "$(cat "$dir/.complete" 2>/dev/null)" = "$want" ]; then
  touch "$dir/.complete"
  exit 0
fi
rm -f "$dir/.complete"
echo "make-venv: Python packages into $dir (one to three minutes)"
"$python" -m venv "$dir"
"$dir/bin/pip" install --quiet --quiet --upgrade pip
"$dir/bin/pip" install --quiet --quiet --editable "$top[$extras]"
echo "$want" > "$dir/.complete"
