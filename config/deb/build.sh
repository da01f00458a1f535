#!/usr/bin/env bash
# Builds a Debian package of vvwatch and all that it needs: config/deb/build.sh [FOLDER for the .deb]
#
# Run it on the Debian or Ubuntu that the package is for: the virtual environment in it belongs to that release's Python.
# It needs python3-venv, dpkg-dev and gzip, no root, and downloads the packages of config/requirements by their hashes.
#
#   PYTHON      the Python of the package (/usr/bin/python3)
#   DEBVERSION  the version of the package (that of vvwatch and -1)
#   DEBFULLNAME, DEBEMAIL  who answers for it
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/config/deb
out=$(mkdir -p "${1:-.}" && realpath "${1:-.}")
python=${PYTHON:-/usr/bin/python3}
version=${DEBVERSION:-$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/src/vvwatch/__init__.py")-1}
maintainer="${DEBFULLNAME:-vvwatch maintainers} <${DEBEMAIL:-maintainers@vvwatch.invalid}>"
architecture=$(dpkg --print-architecture)
minor=$("$python" -c 'import sys; print(sys.version_info.minor)')
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}
date=$(date -u -R -d "@$SOURCE_DATE_EPOCH")
# Nothing that the caller's shell forbids may be missing for the service's user.
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
home=$tree/usr/lib/vvwatch

# The wheel is made by the tools of config/requirements/build.txt, from copies: building leaves traces in the folder.
"$python" -m venv "$work/build"
pip=("$work/build/bin/pip" --quiet --disable-pip-version-check --no-input)
"${pip[@]}" install --require-hashes --no-deps -r "$root/config/requirements/build.txt"
mkdir "$work/source"
cp -r "$root"/{src,config,share,systemd,pyproject.toml,README.md,LICENSE} "$work/source"
"${pip[@]}" wheel --no-deps --no-build-isolation --wheel-dir "$work" "$work/source"

# A virtual environment knows its place from bin/python alone; what names the folder of this build is mended or dropped.
"$python" -m venv --without-pip "$home"
# Since 5.5.2 gcloud-aio-auth asks for Python 3.11.3 and uses nothing of it, while that of Debian 12 is 3.11.2.
into=(--python "$home/bin/python" install --no-compile --no-deps --ignore-requires-python)
"${pip[@]}" "${into[@]}" --require-hashes -r "$root/config/requirements/image.txt"
"${pip[@]}" "${into[@]}" --no-index "$work"/vvwatch-*.whl
"${pip[@]}" --python "$home/bin/python" check
"$home/bin/python" -I -c 'import gcloud.aio.storage; import vvwatch.cli'
find "$home/bin" -mindepth 1 ! -name 'python*' ! -name vvwatch -delete
ln -sfn "/usr/bin/python3.$minor" "$home/bin/python3.$minor"
ln -sfn "python3.$minor" "$home/bin/python3"
ln -sfn "python3.$minor" "$home/bin/python"
sed -i "1s|^#!.*|#!/usr/lib/vvwatch/bin/python|" "$home/bin/vvwatch"
sed -i '/^command = /d' "$home/pyvenv.cfg"
find "$home/lib" -type f ! -name '*.sh' -exec chmod 0644 {} +
find "$home" -name direct_url.json -delete
find "$home" -name __pycache__ -prune -exec rm -r {} +
if grep -rIl "$work" "$home"; then echo "These files name the folder of the build." >&2; exit 1; fi

# Where Debian looks for it; the drop-ins and examples wait in /usr/share/vvwatch.
mkdir -p "$tree"/{DEBIAN,etc/vvwatch/credentials,usr/bin,usr/lib/systemd/system,usr/share/doc/vvwatch,usr/share/lintian/overrides}
mv "$home/share/vvwatch" "$tree/usr/share/vvwatch"
rm -rf "$tree/usr/share/vvwatch/config"/{deb,requirements}
ln -s ../lib/vvwatch/bin/vvwatch "$tree/usr/bin/vvwatch"
mv "$tree/usr/share/vvwatch/systemd/vvwatch.service" "$tree/usr/lib/systemd/system"
for shared in man bash-completion zsh fish; do
  if [ -e "$home/share/$shared" ]; then mv "$home/share/$shared" "$tree/usr/share"; fi
done
if [ -d "$tree/usr/share/man" ]; then find "$tree/usr/share/man" -type f ! -name '*.gz' -exec gzip -9n {} +; fi
rmdir --ignore-fail-on-non-empty "$home/share"
install -m 0644 "$here/vvwatch.toml" "$tree/etc/vvwatch/vvwatch.toml"
chmod 0700 "$tree/etc/vvwatch/credentials"
install -m 0644 "$here/lintian-overrides" "$tree/usr/share/lintian/overrides/vvwatch"
install -m 0644 "$here/copyright" "$root/docs/licences.md" "$tree/usr/share/doc/vvwatch"
gzip -9nc "$root/CHANGELOG.md" > "$tree/usr/share/doc/vvwatch/changelog.gz"
gzip -9nc > "$tree/usr/share/doc/vvwatch/changelog.Debian.gz" <<CHANGES
vvwatch ($version) unstable; urgency=medium

  * What changed stands in changelog.gz.

 -- $maintainer  $date
CHANGES

glibc=$(grep -rhoaE 'GLIBC_2\.[0-9]+' --include='*.so*' "$home" | sort -uV | tail -1)
sed -e "s|@VERSION@|$version|; s|@ARCHITECTURE@|$architecture|; s|@MAINTAINER@|$maintainer|" \
  -e "s|@MINOR@|$minor|; s|@NEXT@|$((minor + 1))|; s|@GLIBC@|${glibc#GLIBC_}|" \
  -e "s|@SIZE@|$(du -sk --apparent-size "$tree" | cut -f1)|" "$here/control" > "$tree/DEBIAN/control"
echo /etc/vvwatch/vvwatch.toml > "$tree/DEBIAN/conffiles"
install -m 0755 "$here"/{postinst,prerm,postrm} "$tree/DEBIAN"
(cd "$tree" && find etc usr -type f ! -path 'etc/*' -print0 | sort -z | xargs -0 md5sum) > "$tree/DEBIAN/md5sums"
find "$tree" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group --build "$tree" "$out/vvwatch_${version}_$architecture.deb"
