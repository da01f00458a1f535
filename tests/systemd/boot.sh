#!/usr/bin/env bash
# Boots Debian with systemd in a container of systemd-nspawn, with vvwatch's package in it, and runs checks.sh there.
#
#   tests/systemd/boot.sh [DEB]      the package to install; without one it is built
#
# Needs root on Debian, systemd-container, mmdebstrap and 1.5 GB below ${TMPDIR:-/tmp}; not a systemd on this machine. The
# new system has no network but its own loopback. VVWATCH_BOOT_CACHE names a folder that keeps the bare system from one
# run to the next. Prints a line for each check, and ends with 0 if there were all and none failed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
suite=${SUITE:-$(sed -n "s/^VERSION_CODENAME=//p" /etc/os-release)}
work=$(mktemp -d "${TMPDIR:-/tmp}/vvwatch-boot.XXXXXX")
machine=$work/${work##*.}
cache=${VVWATCH_BOOT_CACHE:-$work}/bare-$suite.tar
groups=()

clean_up() {
  for child in $(jobs -p); do kill "$child" 2> /dev/null || true; done
  sleep 1
  for group in "${groups[@]}"; do
    [ ! -e "$group/payload/cgroup.kill" ] || echo 1 > "$group/payload/cgroup.kill"
  done
  for child in $(jobs -p); do kill -KILL "$child" 2> /dev/null || true; done
  for group in "${groups[@]}"; do
    echo $$ > "${group%/*}/cgroup.procs"
    find "$group" -depth -type d -exec rmdir {} + 2> /dev/null || true
  done
  rm -rf "$work" "/run/systemd/nspawn/propagate/${machine##*/}"
}
trap clean_up EXIT

package=${1:-}
if [ -z "$package" ]; then
  # Packed quickly: it is unpacked once.
  DPKG_DEB_COMPRESSOR_TYPE=gzip DPKG_DEB_COMPRESSOR_LEVEL=1 "$root/config/deb/build.sh" "$work" > "$work/build.log" 2>&1 \
    || { cat "$work/build.log" >&2; exit 1; }
  package=$(echo "$work"/*.deb)
fi
if [ ! -e "$cache" ]; then
  mmdebstrap --quiet --format=tar --variant=minbase \
    --include=systemd-sysv,dbus,libpam-systemd,python3,ca-certificates,procps "$suite" "$cache.part"
  mv "$cache.part" "$cache"
fi
mkdir "$machine"
tar -xf "$cache" -C "$machine"
mkdir "$machine/checks"
install "$here/checks.sh" "$machine/checks"
cp "$package" "$machine/checks/vvwatch.deb"
cp -r "$root/systemd" "$machine/checks/systemd"
cat > "$machine/etc/systemd/system/checks.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/checks/checks.sh
StandardOutput=append:/checks/report
StandardError=file:/checks/errors
TimeoutStartSec=25min
ExecStopPost=/usr/bin/systemctl --no-block poweroff
[Install]
WantedBy=default.target
UNIT
ln -s ../checks.service "$machine/etc/systemd/system/multi-user.target.wants/checks.service" 2> /dev/null || {
  mkdir -p "$machine/etc/systemd/system/default.target.wants"
  ln -s ../checks.service "$machine/etc/systemd/system/default.target.wants/checks.service"
}

options=(--quiet --directory="$machine" --private-network --console=pipe)
if [ ! -d /run/systemd/system ]; then
  # Nobody is here to register the machine with, nor to give it a control group of its own.
  options+=(--register=no --keep-unit)
  for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    if [ -e "$hierarchy/cgroup.procs" ]; then groups+=("$hierarchy/${work##*/}"); fi
  done
  for group in "${groups[@]}"; do
    mkdir "$group"
    echo $$ > "$group/cgroup.procs"
  done
fi
touch "$machine/checks/report"
tail --lines=+1 --follow "$machine/checks/report" &
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout --kill-after=30 1800 systemd-nspawn "${options[@]}" --boot \
  < /dev/null > "$work/console" 2>&1 &
wait $! || cat "$work/console" >&2
sleep 2
if ! grep -q '^all checks passed$' "$machine/checks/report"; then
  cat "$machine/checks/errors" >&2
  exit 1
fi
