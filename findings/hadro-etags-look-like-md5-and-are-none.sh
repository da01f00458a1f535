#!/usr/bin/env bash
# hadro 0.7.1 (PyPI) gives objects ETags of 32 hexadecimal digits, as S3 does for objects that were put in one request.
# There they are the MD5 of the bytes; here two files of other bytes, but equal size and time, have one ETag.
# Whoever holds bytes against the ETag finds every object broken; whoever goes by the ETag alone misses a change.
# Exit 0: as described. Exit 1: the behaviour changed.
set -euo pipefail
w=$(mktemp -d); server=""
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$w"' EXIT
python3 -m venv "$w/v"
"$w/v/bin/pip" install -q --disable-pip-version-check 'hadro==0.7.1' 'boto3==1.43.106' 2>"$w/pip.log" || { cat "$w/pip.log"; exit 1; }
mkdir -p "$w/data/bucket"
printf 'one film' >"$w/data/bucket/a.mp4"; printf 'another!' >"$w/data/bucket/b.mp4"
touch -d '2026-01-02T03:04:05Z' "$w/data/bucket/a.mp4" "$w/data/bucket/b.mp4"
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
"$w/v/bin/hadro" "$w/data" --port "$port" --access-key some-key --secret-key some-secret >"$w/log" 2>&1 & server=$!
"$w/v/bin/python" - "$port" <<'PY'
import hashlib, re, socket, sys, time
import boto3
from botocore.config import Config
for _ in range(300):
    if not socket.socket().connect_ex(("127.0.0.1", int(sys.argv[1]))):
        break
    time.sleep(0.1)
s3 = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", region_name="us-east-1", aws_access_key_id="some-key",
                  aws_secret_access_key="some-secret", config=Config(s3={"addressing_style": "path"}))
found = {}
print("hadro 0.7.1:")
for key in ("a.mp4", "b.mp4"):
    answer = s3.get_object(Bucket="bucket", Key=key)
    found[key] = answer["ETag"].strip('"'), hashlib.md5(answer["Body"].read()).hexdigest()
    print(f"  {key}: ETag {found[key][0]}, MD5 of the bytes {found[key][1]}")
like_md5 = all(re.fullmatch("[0-9a-f]{32}", etag) and etag != md5 for etag, md5 in found.values())
sys.exit(0 if like_md5 and found["a.mp4"][0] == found["b.mp4"][0] else 1)
PY
