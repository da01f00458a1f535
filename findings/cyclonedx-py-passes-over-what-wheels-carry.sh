#!/usr/bin/env bash
# cyclonedx-py lists a virtual environment package by package, and nothing of what is inside a wheel.
#
# Wheels bring bills of their own (PEP 770: *.dist-info/sboms/), made by auditwheel and maturin, which name the system
# libraries and the Rust crates that are compiled in. The list of the environment has none of them, and no hint that they
# are there: a scanner that is fed with it finds no FFmpeg where PyAV is installed, and no OpenSSL beside cryptography.
#
# Exits 1 when the behaviour changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/tool" && python3 -m venv "$folder/venv"
"$folder/tool/bin/pip" install -q --disable-pip-version-check cyclonedx-bom==7.5.0
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 cryptography==50.0.2
"$folder/tool/bin/cyclonedx-py" environment "$folder/venv/bin/python" > "$folder/bill.json"
"$folder/venv/bin/python" - "$folder/bill.json" <<'PYTHON'
import json
import sys
from importlib.metadata import distribution

document = json.load(open(sys.argv[1]))
nested = [c["name"] for c in document["components"] if c.get("components")]
listed = sorted(c["name"].lower() for c in document["components"])
print("cyclonedx-bom 7.5.0 lists:", ", ".join(listed), "- with parts:", nested)
brought = {}
for name in ("av", "cryptography"):
    files = [f for f in distribution(name).files if ".dist-info/sboms/" in str(f) and f.suffix == ".json"]
    parts = {c["name"] for f in files for c in json.loads(f.read_text()).get("components", [])}
    brought[name] = parts
    print(f"{name}'s own bill names {len(parts)}, of which the list has {sorted(p for p in parts if p.lower() in listed and p != name)}")
missing = brought["av"] - {"av"} and brought["cryptography"] - {"cryptography"}
sys.exit(not (missing and not nested and "libxcb" not in listed))
PYTHON
