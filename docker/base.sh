#!/bin/sh
# Makes a base image without a registry, by debootstrap from the machine's own apt mirror; run it as root.
#
#   docker/base.sh [TAG]          TAG: debian:trixie-slim unless told; nothing is done where it exists already
#
# VCMBENCH_MIRROR   another mirror than the first one of the machine's apt sources
# VCMBENCH_SUITE    another release than trixie
set -eu

tag=${1:-debian:trixie-slim}
suite=${VCMBENCH_SUITE:-trixie}

fail() {
    echo "base.sh: $*" >&2
    exit 1
}

# The first enabled mirror of the machine's apt sources, either format: "URIs: URL ..." in *.sources (a stanza may say
# "Enabled: no"), "deb [options] URL suite ..." in *.list. The distribution's own file comes first.
find_mirror() {
    for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.sources \
        /etc/apt/sources.list.d/*.list; do
        [ -f "$file" ] || continue
        case $file in
        *.sources)
            awk 'BEGIN { RS = ""; FS = "\n" }
                 { uri = ""; enabled = 1
                   for (i = 1; i <= NF; i++) {
                       line = tolower($i)
                       if (line ~ /^enabled:[ \t]*(no|false|0)/) enabled = 0
                       if (line ~ /^uris:/) { split($i, part, /[ \t]+/); uri = part[2] } }
                   if (enabled && uri != "") { print uri; exit } }' "$file"
            ;;
        *)
            awk '$1 == "deb" { sub(/^deb[ \t]+(\[[^]]*\][ \t]+)?/, ""); print $1; exit }' "$file"
            ;;
        esac
    done | grep -E '^(https?|file):' | head -n 1
}

command -v docker >/dev/null || fail "no docker command: apt-get install docker.io"
docker version >/dev/null 2>&1 || fail "the docker engine does not answer: start dockerd first"
if docker image inspect "$tag" >/dev/null 2>&1; then
    echo "base.sh: $tag exists, nothing to do" >&2
    exit 0
fi
[ "$(id -u)" -eq 0 ] || fail "debootstrap needs root"
command -v debootstrap >/dev/null || fail "no debootstrap command: apt-get install debootstrap"

mirror=${VCMBENCH_MIRROR:-$(find_mirror || true)}
[ -n "$mirror" ] || fail "no mirror in the apt sources of this machine: set VCMBENCH_MIRROR=URL"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
root=$work/root
# mktemp makes it 0700, and that mode would become the one of / in the image.
mkdir -m 755 "$root"

if ! debootstrap --variant=minbase --include=ca-certificates "$suite" "$root" "$mirror" >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    fail "debootstrap $suite from $mirror failed"
fi

# The host's own certificates: without them nothing fetches over TLS from behind an intercepting proxy.
for certificate in /usr/local/share/ca-certificates/*.crt; do
    if [ -f "$certificate" ]; then cp "$certificate" "$root/usr/local/share/ca-certificates/"; fi
done
chroot "$root" update-ca-certificates >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; fail "update-ca-certificates failed"; }

rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
rm -f "$root"/var/log/*.log "$root"/var/log/apt/*
# An archive that breaks off must not become an image, so it is not piped.
tar -C "$root" -cf "$work/root.tar" .
docker import --change 'CMD ["bash"]' "$work/root.tar" "$tag" >/dev/null
echo "base.sh: $tag made from $mirror ($suite)" >&2
