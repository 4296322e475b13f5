#!/bin/sh
# Debian packages into an image, without what an image does not need: install-packages.sh PACKAGE...
# No manuals, no libraries' own tests (a third of scientific Python), no package lists left behind.
set -eu

{
    echo force-unsafe-io
    for path in doc man info locale lintian; do echo "path-exclude=/usr/share/$path/*"; done
    echo "path-include=/usr/share/doc/*/copyright"
    for library in matplotlib mpl_toolkits networkx numpy pandas scipy skimage sympy; do
        echo "path-exclude=/usr/lib/python3/dist-packages/$library/tests/*"
        echo "path-exclude=/usr/lib/python3/dist-packages/$library/*/tests/*"
    done
    echo "path-include=/usr/lib/python3/dist-packages/numpy/_core/tests/_natype.py"   # numpy.testing imports it
} > /etc/dpkg/dpkg.cfg.d/panoptes-image

# Each package would start Python to compile itself; once for all of them takes a fraction, most of all under emulation.
dpkg-divert --quiet --local --rename --add /usr/bin/py3compile
ln -s /bin/true /usr/bin/py3compile

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install --yes -qq --no-install-recommends --fix-broken > /dev/null
apt-get install --yes -qq --no-install-recommends "$@" > /dev/null

rm /usr/bin/py3compile
dpkg-divert --quiet --local --rename --remove /usr/bin/py3compile
python3 -m compileall -q -j 0 /usr/lib/python3/dist-packages

# Whoever is in a container is uid 1000 and stays it: no program there runs as somebody else.
find / -xdev -type f -perm /6000 -exec chmod a-s {} +

apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/* /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache /var/cache/fontconfig
