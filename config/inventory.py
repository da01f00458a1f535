"""What an environment consists of, from its packages down to the libraries that their wheels carry.

    python config/inventory.py sbom > sbom.json              CycloneDX 1.6, of this Python's environment
    python config/inventory.py licences > docs/licences.md   of what the image consists of

Needs cyclonedx-bom (in the extra `test`), which lists the packages. It passes over what is within a wheel; that is
added here, from the bills that wheels bring (PEP 770) and from the names of the shared libraries beside the packages.
Exits with 1 where a library's licence is not known.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
_LIBRARY: Final = re.compile(r"[^/]+\.libs/(?P<name>lib.+?)-[0-9a-f]{8}\.so(?:\.(?P<version>[\d.]+))?")
_PINNED: Final = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)

LICENCES: Final = {
    "libSvtAv1Enc": "BSD-3-Clause-Clear",
    "libXau": "MIT",
    "libasound": "LGPL-2.1-or-later",
    "libavcodec": "LGPL-3.0-or-later",
    "libavdevice": "LGPL-3.0-or-later",
    "libavfilter": "LGPL-3.0-or-later",
    "libavformat": "LGPL-3.0-or-later",
    "libavutil": "LGPL-3.0-or-later",
    "libdav1d": "BSD-2-Clause",
    "libdrm": "MIT",
    "libgmp": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libgnutls": "LGPL-2.1-or-later",
    "libhogweed": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libmp3lame": "LGPL-2.0-or-later",
    "libnettle": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libopencore-amrnb": "Apache-2.0",
    "libopencore-amrwb": "Apache-2.0",
    "libopus": "BSD-3-Clause",
    "libsharpyuv": "BSD-3-Clause",
    "libswresample": "LGPL-3.0-or-later",
    "libswscale": "LGPL-3.0-or-later",
    "libunistring": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    "libvpl": "MIT",
    "libvpx": "BSD-3-Clause",
    "libwebp": "BSD-3-Clause",
    "libwebpmux": "BSD-3-Clause",
    "libx264": "GPL-2.0-or-later",
    "libx265": "GPL-2.0-or-later",
    "libxcb": "MIT",
    "libxcb-shape": "MIT",
    "libxcb-shm": "MIT",
    "libxcb-xfixes": "MIT",
}
"""Of the shared libraries in the wheel of PyAV: their projects' own statements, for no metadata says it."""

_HEAD: Final = """# Licences

What the image of `config/Containerfile` consists of, beside Python and Debian's packages in its base image. Made by
`python config/inventory.py licences > docs/licences.md`; the same as a bill of materials (CycloneDX 1.6), for the
environment at hand: `python config/inventory.py sbom > sbom.json`.

vvwatch itself is under Apache-2.0. **The wheel of PyAV carries x264 and x265, which are under the GPL**, linked with
FFmpeg in one build: the FFmpeg in it reports the LGPL of its own sources, yet who passes that wheel on passes on a work
under GPL-3.0-or-later. Running vvwatch obliges you to nothing. If you distribute an image or an appliance with it,
you have the duties of the GPL for that wheel: its licence text and the offer of its sources (they are PyAV's and
FFmpeg's, and public). vvwatch only decodes, so an FFmpeg without x264 and x265 does: build PyAV from source against it
(`pip install --no-binary av av`).
"""


def main(wanted: str) -> None:
    """Write the inventory that is `wanted` to stdout."""
    if wanted == "sbom":
        json.dump(bill(), sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        print("\n".join(licences()))


def bill() -> dict[str, Any]:
    """Return the bill of materials of this environment."""
    command = ["-m", "cyclonedx_py", "environment", "--output-reproducible", "--mc-type", "application"]
    project = ["--pyproject", str(ROOT / "pyproject.toml")]
    said = subprocess.run(
        [sys.executable, *command, *project, sys.executable], check=True, capture_output=True
    )
    document: dict[str, Any] = json.loads(said.stdout)
    bundles = {normal(each.name): list(bundled(each)) for each in distributions()}
    for component in document["components"]:
        if carried := bundles.get(normal(component["name"])):
            component["components"] = carried
    return document


def bundled(package: Distribution) -> Iterator[dict[str, Any]]:
    """Yield what the wheel of `package` carries within it, as components of its own."""
    here = f"{normal(package.name)}=={package.version}"
    for number, (name, version, licence) in enumerate(libraries(package)):
        known = {"licenses": [{"expression": licence}]}
        component = {"type": "library", "name": name, "bom-ref": f"{here}/library/{number}", **known}
        yield component | ({"version": version} if version else {})
    for file in package.files or ():
        if ".dist-info/sboms/" in str(file) and file.suffix == ".json":
            document = json.loads(Path(str(file.locate())).read_text())
            for number, each in enumerate(document.get("components", ())):
                kept = ("type", "name", "version", "purl", "licenses")
                part = {name: each[name] for name in kept if name in each}
                yield part | {"bom-ref": f"{here}/{file.name}/{number}"}


def libraries(package: Distribution) -> Iterator[tuple[str, str, str]]:
    """Yield name, version and licence of the shared libraries beside `package`, where it is one of the image."""
    if normal(package.name) not in pinned():
        return
    for file in sorted(map(str, package.files or ())):
        if found := _LIBRARY.fullmatch(file):
            if found["name"] not in LICENCES:
                sys.exit(f"the licence of {found['name']} in {package.name} is not known: add it to LICENCES")
            yield found["name"], found["version"] or "", LICENCES[found["name"]]


def licences() -> Iterator[str]:
    """Yield the lines of the page on licences."""
    known = {normal(each["name"]): said_by(each) for each in bill()["components"]}
    yield from (_HEAD, "| package | version | licence |", "|---|---|---|")
    for name, version in pinned().items():
        if name not in known:
            sys.exit(f"{name} is not installed here: install config/requirements/test.txt first")
        if not known[name]:
            sys.exit(f"the licence of {name} is not known")
        yield f"| {name} | {version} | {known[name]} |"
    yield from ("", "Within the wheel of PyAV:", "", "| library | version | licence |", "|---|---|---|")
    for name, version, licence in libraries(distribution("av")):
        yield f"| {name} | {version} | {licence} |"


def said_by(component: dict[str, Any]) -> str:
    """Return the licence that a component's metadata states; classifiers count where there is nothing better."""
    given = [each.get("expression") or each["license"] for each in component.get("licenses", ())]
    exact = [each if isinstance(each, str) else each.get("id", "") for each in given]
    loose = [each.get("name", "") for each in given if isinstance(each, dict)]
    return ", ".join(sorted({*filter(None, exact)})) or ", ".join(
        sorted({name.rpartition(" :: ")[2] for name in loose if name})
    )


def pinned() -> dict[str, str]:
    """Return the versions of the packages that the image consists of, by normal name."""
    lines = (ROOT / "config/requirements/image.txt").read_text()
    return {normal(name): version for name, version in _PINNED.findall(lines)}


def normal(name: str) -> str:
    """Return the normal form of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    if sys.argv[1:] not in (["sbom"], ["licences"]):
        sys.exit(__doc__)
    main(sys.argv[1])
