#!/usr/bin/env bash
# gcloud-aio-auth asks for Python 3.11.3, and works on 3.11.2, which is that of Debian 12.
#
# Since 5.5.2 its wheels require >=3.11.3. On Debian 12 pip therefore takes 5.5.1 without a word, and a lock file made on
# another 3.11 cannot be installed there ("No matching distribution"). The newest thing that 5.6.0 uses is typing.Self,
# of 3.11.0: told to ignore the requirement, pip installs it and it can be imported.
#
# Exits 1 when the behaviour changed, 2 where no Python 3.11.2 is at hand (PYTHON, /usr/bin/python3).
set -euo pipefail
python=${PYTHON:-/usr/bin/python3}
version=$("$python" -c 'import platform; print(platform.python_version())')
echo "Python $version"
case "$version" in 3.11.[012]) ;; *) exit 2 ;; esac
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
pip=("$folder/venv/bin/pip" -q --disable-pip-version-check)
changed=0
if "${pip[@]}" install gcloud-aio-auth==5.6.0 > "$folder/said" 2>&1; then changed=1; fi
grep -o "No matching distribution.*" "$folder/said" || changed=1
"${pip[@]}" install --ignore-requires-python gcloud-aio-auth==5.6.0 2> /dev/null
"$folder/venv/bin/python" -c '
import gcloud.aio.auth
from importlib.metadata import metadata
about = metadata("gcloud-aio-auth")
print(about["Version"], "requires", about["Requires-Python"], "and was imported:", gcloud.aio.auth.Token)' || changed=1
exit $changed
