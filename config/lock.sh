#!/usr/bin/env bash
# Makes the lock files anew, in config/requirements/: of the image, of what builds the package, and of the tests.
#
# Each names one version of every package, direct or not, and the hashes of all its files. Run it with the Python of the
# image (3.11), when pyproject.toml changed or to take newer versions; then run the tests, and read the difference.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install -q --disable-pip-version-check pip-tools==7.6.2
lock() {
  local file=config/requirements/$1.txt
  "$folder/bin/pip-compile" --quiet --rebuild --upgrade --generate-hashes --allow-unsafe --strip-extras \
    --no-annotate --no-header --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
    --output-file "$file" "${@:2}" pyproject.toml
  sed -i '/^#/d; /^vvwatch @/d' "$file" # extras that name other extras make the project one of its own requirements
}
# The tests first: what they hold back, such as a version that a judge does not know yet, the image holds back, too.
lock test --extra test --build-deps-for editable --build-deps-for wheel
same=(--constraint config/requirements/test.txt)
lock image "${same[@]}" --extra clouds --extra postgresql --extra videovector
lock build "${same[@]}" --only-build-deps --build-deps-for editable --build-deps-for wheel
