#!/bin/bash
# What vvwatch's package and unit promise, asked of a booted systemd: boot.sh runs this within the new system, as root.
# shellcheck disable=SC2016 # what eval is given expands there
set -uo pipefail
failed=0
unit=vvwatch.service
drop_ins=/etc/systemd/system/$unit.d

check() { # NAME COMMAND…: the command ends well within 60 seconds
  local name=$1 end=$((SECONDS + ${WITHIN:-60}))
  shift
  until "$@" > /checks/said 2>&1; do
    if [ $SECONDS -ge $end ]; then
      failed=$((failed + 1))
      echo "FAILED  $name"
      { echo "== $name: $*"; cat /checks/said; journalctl -u $unit -n 12 --no-pager; } >&2
      return 1
    fi
    sleep 0.2
  done
  echo "ok      $name"
}
now() { WITHIN=0 check "$@"; }
not() { ! "$@"; }
of() { systemctl show --value --property="$1" $unit; }
is() { [ "$(of "$1")" = "$2" ] || { echo "$1 is $(of "$1")"; return 1; }; }
log() { journalctl --unit=$unit --output=cat --since="@$since" | grep -E -- "$1"; }
mark() { since=$(date +%s); }
status_says() { of StatusText | grep -E -- "$1"; }
answers() { python3 -c "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8787$1').status)"; }
vv() { vvwatch "$@" --state-dir /var/lib/vvwatch; }
in_service() { nsenter --target "$(of MainPID)" --mount -- "$@"; }
is_another() { [ "$(of MainPID)" != "$before" ] && [ "$(of MainPID)" != 0 ]; }
set_config() {
  mkdir -p /srv/media/incoming
  cat > /etc/vvwatch/vvwatch.toml <<TOML
drain_seconds = 20
[local]
roots = ["/srv/media"]
[connectors.incoming]
type = "local"
path = "/srv/media/incoming"
[indexes.$1]
[automations.$1]
index = "$1"
connector = "incoming"
prompt = "technical"
TOML
}

echo "# $(systemctl --version | head -1), $(python3 --version), Linux $(uname -r), $(stat -fc %T /sys/fs/cgroup)"
mark
# --- the package
now "the package installs" dpkg --install /checks/vvwatch.deb
now "nothing is started by the installation" is ActiveState inactive
now "nor enabled" not systemctl --quiet is-enabled $unit
now "the command works" vvwatch version
now "the configuration that it brings has no problems" vvwatch check --config /etc/vvwatch/vvwatch.toml
now "the code is compiled" test -e "$(echo /usr/lib/vvwatch/lib/python3.*/site-packages/vvwatch/__pycache__/errors.*.pyc)"
now "systemd has no complaint" systemd-analyze verify --man=no /usr/lib/systemd/system/$unit

# --- start
set_config dailies
systemctl enable --quiet $unit
systemctl start $unit
now "start returns when the daemon is ready" answers /readyz
now "it is active and notified" is SubState running
now "systemctl status has a line of ours" status_says .
now "exposure is at most 1.1 (running)" systemd-analyze security --no-pager --threshold=11 $unit
echo "#       $(systemd-analyze security --no-pager $unit | tail -1)"
uid=$(stat -c %u "/proc/$(of MainPID)")
now "its user is one of the dynamic ones" [ $((uid >= 61184 && uid <= 65519)) = 1 ]
now "its state belongs to that user alone" [ "$(stat -c '%a %u' /var/lib/private/vvwatch/vvwatch.db)" = "600 $uid" ]
now "the system is read-only to it" not in_service touch /srv/media/incoming/of-the-service
now "the media can be read" in_service ls /srv/media/incoming
touch /home/private
now "homes are hidden" not in_service test -e /home/private
now "no system call was denied at the start" not log "EPERM|Operation not permitted"
now "commands find it" vv status
now "doctor has nothing to say about the host" vv doctor
python3 - <<'PYTHON' > /checks/said 2>&1
import struct, wave
with wave.open("/srv/media/incoming/tone.wav", "wb") as sound:
    sound.setparams((1, 2, 8000, 0, "NONE", ""))
    sound.writeframes(b"".join(struct.pack("<h", (i * 997) % 20000 - 10000) for i in range(16000)))
PYTHON
vv scan dailies > /dev/null 2>&1; sleep 5; vv fire dailies > /dev/null 2>&1
imported() { vv scan dailies > /dev/null; vv fire dailies > /dev/null; vv runs dailies --json | grep -E '"status": ?"completed"'; }
WITHIN=120 check "a file is decoded in the sandbox within the unit" imported

# --- reload
mark; before=$(of MainPID)
set_config rushes
now "reload succeeds" systemctl reload $unit
check "and is logged" log "config\.reloaded"
now "by the same process" is MainPID "$before"
now "the new automation is there" eval "vv status --json | grep rushes"
echo "no toml" > /etc/vvwatch/vvwatch.toml
now "a wrong configuration fails the reload" not systemctl reload $unit
now "and leaves the daemon alone" is MainPID "$before"
now "ready" answers /readyz
set_config dailies

# --- restart, crash, watchdog
before=$(of MainPID)
now "restart ends well" systemctl restart $unit
now "with another process" is_another
now "ready at once" answers /readyz
before=$(of MainPID)
kill -KILL "$before"
check "a crash is restarted" is_another
check "and ready" answers /readyz
mkdir -p $drop_ins
printf '[Service]\nWatchdogSec=3\n' > $drop_ins/90-watchdog.conf
systemctl daemon-reload; systemctl restart $unit
mark; before=$(of MainPID); sleep 7
now "a daemon that works feeds its watchdog" is MainPID "$before"
kill -STOP "$before"
check "one that hangs is killed" eval 'journalctl --unit=$unit --since="@$since" | grep -i "watchdog timeout"'
check "and restarted" is_another
check "and ready" answers /readyz
rm $drop_ins/90-watchdog.conf

# --- stop
systemctl daemon-reload; systemctl restart $unit; mark
now "a stop ends well" systemctl stop $unit
now "as a success" is Result success
now "with exit code 0" is ExecMainStatus 0
now "within the time to drain" [ $(($(date +%s) - since)) -le 25 ]
now "the state stays" test -s /var/lib/private/vvwatch/vvwatch.db
printf 'wrong = 1\n' > /etc/vvwatch/vvwatch.toml; mark
now "a wrong configuration does not start" not systemctl start $unit
now "with exit code 78" is ExecMainStatus 78
sleep 7
now "and is not tried again" is ActiveState failed
set_config dailies

# --- credentials and drop-ins
install -m 0600 /dev/stdin /etc/vvwatch/credentials/admin-key <<< "sk_live_$(printf 'ab%.0s' {1..24})"
cat > $drop_ins/50-key.conf <<'CONF'
[Service]
LoadCredential=admin-key:/etc/vvwatch/credentials/admin-key
Environment=VVWATCH_ADMIN_KEY_FILE=%d/admin-key
CONF
rm -rf /var/lib/private/vvwatch
systemctl daemon-reload
now "it starts with a credential" systemctl start $unit
now "that the daemon took as its key" env VVWATCH_API_KEY_FILE=/etc/vvwatch/credentials/admin-key vvwatch status --url http://127.0.0.1:8787
now "the credential is in no environment" not grep -aq abababab "/proc/$(of MainPID)/environ"
rm $drop_ins/50-key.conf
systemctl stop $unit; rm -rf /var/lib/private/vvwatch

cp /checks/systemd/10-local-folder.conf $drop_ins/
mkdir -p /home/media/incoming /srv/media/results; chmod 0777 /srv/media/results
systemctl daemon-reload; systemctl restart $unit
now "10-local-folder: ready" answers /readyz
now "10-local-folder: the bound folder is there" in_service ls /home/media/incoming
now "10-local-folder: the rest of /home is not" eval '[ "$(in_service ls /home)" = media ]'
now "10-local-folder: results can be written" in_service touch /srv/media/results/here
now "10-local-folder: media cannot" not in_service touch /home/media/incoming/here
rm $drop_ins/10-local-folder.conf

cp /checks/systemd/20-allow-list.conf $drop_ins/
systemctl daemon-reload; systemctl restart $unit
now "20-allow-list: ready, and this machine is let in" answers /readyz
echo "#       $(systemd-analyze security --no-pager $unit | tail -1)"
rm $drop_ins/20-allow-list.conf

for file in database-url secret-key; do echo wrong > /etc/vvwatch/credentials/$file; done
cp /checks/systemd/30-postgresql.conf $drop_ins/
systemctl daemon-reload; mark; systemctl restart $unit > /dev/null 2>&1
check "30-postgresql: a wrong database_url is refused by name, not by value" log "VVWATCH_DATABASE_URL_FILE|database_url"
systemctl stop $unit
rm $drop_ins/30-postgresql.conf /etc/vvwatch/credentials/{database-url,secret-key}

cp /checks/systemd/{40-speech,50-low-priority}.conf $drop_ins/
systemctl daemon-reload; systemctl restart $unit
now "40-speech and 50-low-priority: ready" answers /readyz
rm -r $drop_ins
systemctl daemon-reload; systemctl restart $unit

# --- upgrade, remove, purge
echo "# mine" >> /etc/vvwatch/vvwatch.toml
before=$(of MainPID)
now "the package upgrades" dpkg --force-confold --install /checks/vvwatch.deb
now "the daemon is another one" is_another
now "and ready" answers /readyz
now "what was edited stays" grep -q "# mine" /etc/vvwatch/vvwatch.toml
now "no mark is left" test ! -e /run/vvwatch.stopped-for-upgrade
systemctl stop $unit
now "a stopped daemon" dpkg --force-confold --install /checks/vvwatch.deb
now "stays stopped over an upgrade" is ActiveState inactive
systemctl start $unit
now "the package is removed" dpkg --remove vvwatch
now "the daemon ended" not pgrep -f vvwatch.run
now "no code is left" test ! -e /usr/lib/vvwatch
now "the configuration stays" test -e /etc/vvwatch/vvwatch.toml
now "the state stays" test -s /var/lib/private/vvwatch/vvwatch.db
now "it comes back" dpkg --force-confold --install /checks/vvwatch.deb
now "with its state" systemctl start $unit
now "ready" answers /readyz
now "the package is purged" dpkg --purge vvwatch
now "the state is gone" test ! -e /var/lib/private/vvwatch
now "so is the link to it" test ! -L /var/lib/vvwatch
now "and the configuration" test ! -e /etc/vvwatch
now "and every link to the unit" eval '[ -z "$(find /etc/systemd /var/lib/systemd/deb-systemd-helper* -name "vvwatch*" 2> /dev/null)" ]'

if [ $failed = 0 ]; then echo "all checks passed"; else echo "$failed checks failed"; fi
