#!/usr/bin/env bash
# Keeps the promises of config/Containerfile on the image's unpacked root file system, with the kernel's own means: process
# 1 of a new process namespace, user 65532 without capabilities, a read-only root, a network of its own.
#
#   tests/image/contract.sh FOLDER   the root file system, unpacked
#   tests/image/contract.sh          builds the image with podman and unpacks it; BASE names another base image
#
# Needs root and util-linux; podman is needed for the second form only. Prints a line for each check, and ends with 0 if
# none failed.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/vvwatch-image.XXXXXX")
clean_up() {
  [ -z "${holder:-}" ] || kill -KILL "$holder" 2> /dev/null || true
  wait
  rm -rf "$work"
}
trap clean_up EXIT

image=${1:-}
if [ -z "$image" ]; then
  podman build --quiet --format docker --network host --isolation chroot --tag vvwatch-contract \
    ${BASE:+--build-arg "BASE=$BASE"} --file "$root/config/Containerfile" "$root" > "$work/build.log"
  mkdir "$work/root"
  container=$(podman create --cgroups=disabled --network=none vvwatch-contract)
  podman export "$container" | tar -x -C "$work/root"
  podman rm "$container" > /dev/null
  image=$work/root
fi

failed=0
check() { # NAME COMMAND…
  if "${@:2}" > "$work/said" 2>&1; then echo "ok      $1"; else
    failed=$((failed + 1))
    echo "FAILED  $1"
    { echo "== $1"; tail --lines=8 --quiet "$work/said" "$work/log"; } >&2
  fi
}
not() { ! "$@"; }
within() { # SECONDS COMMAND…
  local end=$((SECONDS + $1))
  until "${@:2}"; do [ $SECONDS -lt $end ] || return 1; sleep 0.1; done
}

# What the image's users bring: a volume with the owner of the image's folder, a configuration, a folder of media.
mkdir -p "$work"/{state,config,media/incoming,media/results}
chown 65532:65532 "$work/state" "$work"/media/*
chmod 0700 "$work/state"
sed 's/^drain_seconds.*/drain_seconds = 20/; s/^settle.*/settle = "1s"/; s/^debounce.*/debounce = "2s"/' \
  "$root/config/replicas.toml" > "$work/config/vvwatch.toml"
chmod -R a+rX "$work/config" "$work"

cat > "$work/container" <<'INNER'
set -euo pipefail
image=$1 work=$2
# Docker makes the folder of a mount that the image lacks.
mkdir -p "$image/etc/vvwatch"
# A mount of its own, or the root of the tree could not be made read-only.
mount --bind "$image" "$image"
mount -o remount,bind,ro "$image"
mount -t proc -o nosuid,nodev,noexec proc "$image/proc"
mount -t tmpfs -o size=16m,mode=0755 tmpfs "$image/dev"
for device in null zero urandom random; do touch "$image/dev/$device"; mount --bind "/dev/$device" "$image/dev/$device"; done
mount --bind "$work/state" "$image/var/lib/vvwatch"
mount -t tmpfs tmpfs "$image/tmp"
mount --bind "$work/media" "$image/media"
mount --bind "$work/config" "$image/etc/vvwatch"
ip link set lo up 2> /dev/null || true
exec chroot "$image" env -i PATH=/opt/vvwatch/bin:/usr/local/bin:/usr/bin:/bin HOME=/ VVWATCH_STATE_DIR=/var/lib/vvwatch \
  VVWATCH_CONFIG=/etc/vvwatch/vvwatch.toml \
  setpriv --reuid=65532 --regid=65532 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all vvwatch run
INNER
start() {
  unshare --mount --pid --net --ipc --uts --fork --kill-child bash "$work/container" "$image" "$work" >> "$work/log" 2>&1 &
  holder=$!
  within 10 pgrep --parent $holder > "$work/pid"
  pid=$(cat "$work/pid")
}
# A command in the container, as docker exec runs it.
inside() {
  nsenter --target "$pid" --mount --pid --net --ipc --uts --root --wd=/ -- env -i \
    PATH=/opt/vvwatch/bin:/usr/local/bin:/usr/bin:/bin \
    VVWATCH_CONFIG=/etc/vvwatch/vvwatch.toml VVWATCH_STATE_DIR=/var/lib/vvwatch \
    setpriv --reuid=65532 --regid=65532 --clear-groups --no-new-privs "$@"
}
ended() { ! kill -0 "$holder" 2> /dev/null; }
zombies() { pgrep --count --runstates Z --parent "$pid" || true; }
no_zombies() { [ "$(zombies)" = 0 ]; }

started=$SECONDS
start
check "starts as user 65532, and is ready by its HEALTHCHECK" within 60 inside vvwatch health
echo "#       ready after $((SECONDS - started)) s"
check "is process 1" inside sh -c 'tr "\0" " " < /proc/1/cmdline | grep "vvwatch run"'
check "has no capability" grep -q "CapEff:.0000000000000000" "/proc/$pid/status"
check "may not gain one" grep -q "NoNewPrivs:.1" "/proc/$pid/status"
check "cannot write to the root" not inside touch /opt/vvwatch/here /etc/here
check "can write to its volume" inside touch /var/lib/vvwatch/.here
check "commands need no option" inside vvwatch status
# A file goes through: decoding starts processes.
python3 - "$work/media/incoming/tone.wav" <<'PYTHON'
import sys, wave
with wave.open(sys.argv[1] + ".part", "wb") as sound:
    sound.setparams((1, 2, 8000, 0, "NONE", ""))
    sound.writeframes(bytes(range(256)) * 125)
PYTHON
mv "$work/media/incoming/tone.wav.part" "$work/media/incoming/tone.wav"
imported() { inside vvwatch scan dailies > /dev/null; find "$work/media/results" -name "*.json" | grep .; }
check "a file is imported, processed and exported" within 90 imported
# A process whose parent ended belongs to process 1.
check "orphans come to process 1" inside sh -c 'sh -c "sleep 1 & sleep 0.1" & wait'
sleep 2
check "and leave no zombie" within 90 no_zombies
written=$(find "$image" -xdev -newer "$work/container" -type f 2> /dev/null | head -3 || true)
check "wrote nothing but to the volume" [ -z "$written" ]
before=$SECONDS
kill -TERM "$pid" || true
check "ends on SIGTERM, within the time to drain" within 30 ended
echo "#       stopped after $((SECONDS - before)) s"
code=0; wait "$holder" || code=$?
check "with exit code 0" [ "$code" = 0 ]
start
check "starts again on the same volume" within 60 inside vvwatch health
kill -TERM "$pid" || true
kill -TERM "$pid" || true
check "two signals end it at once" within 10 ended
code=0; wait "$holder" || code=$?
check "with 0 or 75" [ "$code" = 0 -o "$code" = 75 ]
holder=

if [ $failed = 0 ]; then echo "all checks passed"; else echo "$failed checks failed"; exit 1; fi
