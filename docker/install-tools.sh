#!/bin/sh
# Runs while panoptes-base is built: the tools, the shell, the user.
set -eu

# oh-my-zsh at one commit; git itself proves that what comes is that commit.
ohmyzsh_url=https://github.com/ohmyzsh/ohmyzsh.git
ohmyzsh_commit=d6aaafdc1d0f502b3fa119f3359c946082f8147b

/usr/local/share/panoptes/install-packages.sh \
    astrometry.net ca-certificates dcraw libcfitsio-bin libimage-exiftool-perl source-extractor \
    zsh zsh-autosuggestions zsh-syntax-highlighting

# The three names that people and scripts use for the same program.
for name in sextractor sex; do
    command -v "$name" > /dev/null || ln -s "$(command -v source-extractor)" "/usr/local/bin/$name"
done

# Debian's astrometry.cfg names the folder of the index files; a release that stops doing so must not pass unseen.
if ! grep -qs '^add_path /usr/share/astrometry' /etc/astrometry.cfg; then
    printf 'cpulimit 300\nadd_path /usr/share/astrometry\nautoindex\n' > /etc/astrometry.cfg
fi
for index in 07 08 09 10 11 12 13 14 15 16 17 18 19; do
    ls /usr/share/astrometry/ | grep -q "index-.*$index.*fits" || { echo "no index files of scale $index" >&2; exit 1; }
done

ohmyzsh_answers() {
    python3 - "$ohmyzsh_url" <<'PYTHON'
import socket, sys, urllib.parse
try:
    socket.create_connection((urllib.parse.urlsplit(sys.argv[1]).hostname, 443), timeout=5).close()
except OSError:
    sys.exit(1)
PYTHON
}
install_ohmyzsh() {
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends git > /dev/null; } ||
        return 1
    git init --quiet /usr/local/share/oh-my-zsh || return 1
    cd /usr/local/share/oh-my-zsh
    timeout 120 git fetch --quiet --depth 1 "$ohmyzsh_url" "$ohmyzsh_commit" && git checkout --quiet FETCH_HEAD
    fetched=$?
    rm -rf .git
    cd /
    apt-get purge --yes -qq --auto-remove git > /dev/null
    rm -rf /var/lib/apt/lists/*
    return $fetched
}
if ohmyzsh_answers && install_ohmyzsh; then
    echo "zsh: oh-my-zsh at $ohmyzsh_commit"
else
    rm -rf /usr/local/share/oh-my-zsh
    echo "zsh: oh-my-zsh's host does not answer; the same prompt, history and plugins come from Debian's packages"
fi

groupadd --gid 1000 panoptes
useradd --uid 1000 --gid 1000 --create-home --shell /usr/bin/zsh panoptes
install -m 0644 /usr/local/share/panoptes/zshrc /etc/zsh/zshrc
install -m 0644 -o panoptes -g panoptes /dev/null /home/panoptes/.zshrc   # keeps zsh from asking how to be set up
install -d -o panoptes -g panoptes /var/panoptes /var/panoptes/conf_files /var/panoptes/images \
    /var/panoptes/logs /var/panoptes/json_store

rm -f /usr/local/share/panoptes/install-tools.sh /usr/local/share/panoptes/zshrc
