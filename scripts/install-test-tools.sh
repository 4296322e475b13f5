#!/usr/bin/env bash
# Installs the Debian packages that some tests want and skip without: a browser and its driver.
# Again: nothing to do.
set -euo pipefail

case "${1:-}" in
  -h | --help)
    sed -n '2,3s/^# //p' "$0"
    exit 0
    ;;
esac

packages=(chromium chromium-driver fonts-dejavu-core)
missing=()
for package in "${packages[@]}"; do
  dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=$([ "$(id -u)" -eq 0 ] && echo "" || echo sudo)
echo "install-test-tools: installing ${missing[*]} (one to two minutes)"
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
