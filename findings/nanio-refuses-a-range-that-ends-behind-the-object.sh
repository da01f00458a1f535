#!/usr/bin/env bash
# nanio 0.1.7 (PyPI) answers 400 InvalidArgument to a range that begins in an object and ends behind it.
# RFC 9110, section 14.1.2, has such a range shortened to the end; S3 answers 206 with what there is.
# Exit 0: as described. Exit 1: the behaviour changed.
set -euo pipefail
w=$(mktemp -d); server=""
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$w"' EXIT
python3 -m venv "$w/v"
"$w/v/bin/pip" install -q --disable-pip-version-check 'nanio==0.1.7' 'boto3==1.43.106' 2>"$w/pip.log" || { cat "$w/pip.log"; exit 1; }
port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
NANIO_ACCESS_KEY=some-access-key NANIO_SECRET_KEY=some-secret-key "$w/v/bin/nanio" serve --host 127.0.0.1 --port "$port" --data-dir "$w/data" >"$w/log" 2>&1 & server=$!
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
s3.create_bucket(Bucket="bucket")
s3.put_object(Bucket="bucket", Key="ten", Body=b"0123456789")
def get(stretch):
    try:
        answer = s3.get_object(Bucket="bucket", Key="ten", Range=stretch)
        return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Body"].read()
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
found = {stretch: get(stretch) for stretch in ("bytes=2-4", "bytes=2-9", "bytes=2-10", "bytes=0-99")}
print("nanio 0.1.7, an object of 10 bytes:")
for stretch, (status, told) in found.items():
    print(f"  {stretch:12} {status} {told}")
as_described = found["bytes=2-9"] == (206, b"23456789") and found["bytes=2-10"] == found["bytes=0-99"] == (400, "InvalidArgument")
sys.exit(0 if as_described else 1)
PY
