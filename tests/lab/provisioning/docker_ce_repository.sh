#!/bin/sh
# Makes an apt repository with the layout of Docker's own (linux/debian, signed, codename/stable) under /srv/apt on a unit
# and serves it on 127.0.0.1:8000, with every request in /srv/requests. The packages are stand-ins: Debian's own engine,
# client, containerd and Compose under Docker's names, because the lab reaches no repository of Docker's.
set -eu
export DEBIAN_FRONTEND=noninteractive
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
architecture=$(dpkg --print-architecture)
work=/srv/work
top=/srv/apt/linux/debian
pool=$top/dists/$codename/pool/stable/$architecture
binary=$top/dists/$codename/stable/binary-$architecture

apt-get -qq update
apt-get -qq install -y --no-install-recommends apt-utils gpg gpg-agent >/dev/null
mkdir -p "$work" "$pool" "$binary"
cd "$work"
apt-get -qq download docker.io docker-cli containerd runc docker-compose

# repackage NAME DEPENDS FROM...
repackage() {
  name=$1 depends=$2
  shift 2
  for from in "$@"; do dpkg-deb -R "$from"_*.deb "$from"; done
  first=$1
  shift
  for more in "$@"; do cp -a "$more"/usr "$first"/; done
  {
    echo "Package: $name"
    echo "Version: 5:99.0-1"
    echo "Architecture: $architecture"
    echo "Maintainer: stand-in <nobody@example.org>"
    echo "Depends: $depends"
    echo "Description: stand-in for $name"
  } > "$first"/DEBIAN/control
  dpkg-deb -Zgzip -z1 -b "$first" "$pool/$name.deb" >/dev/null
}
repackage containerd.io libc6 containerd runc
repackage docker-ce-cli libc6 docker-cli
repackage docker-compose-plugin docker-ce-cli docker-compose
repackage docker-ce 'containerd.io, docker-ce-cli, iptables' docker.io

cd "$top"
apt-ftparchive packages "dists/$codename/pool" > "$binary/Packages"
apt-ftparchive -o APT::FTPArchive::Release::Codename="$codename" -o APT::FTPArchive::Release::Suite="$codename" \
  -o APT::FTPArchive::Release::Components=stable -o APT::FTPArchive::Release::Architectures="$architecture" \
  release "dists/$codename" > "$work/Release"
export GNUPGHOME=/srv/keys
mkdir -p -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key 'stand-in for Docker' default default never 2>/dev/null
gpg --batch --quiet --clearsign -o "dists/$codename/InRelease" "$work/Release"
gpg --batch --quiet --armor --export > gpg
rm -rf "$work"
cd /srv/apt
systemd-run --quiet --unit stand-in-repository --property StandardError=append:/srv/requests \
  python3 -m http.server 8000 --bind 127.0.0.1 --directory /srv/apt
for n in $(seq 100); do
  ss -Hltn sport = :8000 | grep -q . && break
  sleep 0.1
done
sha256sum "$top/gpg" | cut -d' ' -f1
