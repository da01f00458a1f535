#!/usr/bin/env bash
# videovector 2.0.0 (PyPI), the SDK of VideoVector: an error whose JSON is `{"error": "some words"}`, the form of many
# gateways and frameworks, loses its status, its words and its kind. The SDK looks for keys in the words, fails over that,
# and takes its own failure for one of the network: `VideoVectorError: Request failed.` with status_code None.
# So a wrong key (401) and what does not exist (404) are asked for again, after pauses of 2, 4 and 8 s as it comes, and
# whoever tells a wrong key from an outage by the kind of error cannot. A page of HTML or an `{"error": {…}}` does well.
# Exit 0: as described. Exit 1: the behaviour changed.
set -euo pipefail
w=$(mktemp -d)
trap 'rm -rf "$w"' EXIT
python3 -m venv "$w/v"
"$w/v/bin/pip" install -q --disable-pip-version-check 'videovector==2.0.0' 2>"$w/pip.log" || { cat "$w/pip.log"; exit 1; }
"$w/v/bin/python" - <<'PY'
import sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from videovector import VideoVector, VideoVectorError
BODIES = {"words": b'{"error": "no such key"}', "table": b'{"error": {"message": "no such key"}}', "page": b"<html>no such key</html>"}
asked = []
class Refusing(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        status, form = self.path.rsplit("/", 1)[-1].split("-")
        self.send_response(int(status))
        self.send_header("Content-Length", str(len(BODIES[form])))
        self.end_headers()
        self.wfile.write(BODIES[form])
    def log_message(self, *_):
        pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
threading.Thread(target=server.serve_forever, daemon=True).start()
sdk = VideoVector("some-key", auth_mode="api_key", base_url=f"http://127.0.0.1:{server.server_port}/api/v2", max_retries=1)
found = {}
for status in (401, 404):
    for form, body in BODIES.items():
        asked.clear()
        try:
            sdk.prompt_runs.retrieve(f"{status}-{form}")
        except VideoVectorError as error:
            found[status, form] = type(error).__name__, error.status_code, len(asked)
            print(f"{status} {body.decode():38} {type(error).__name__}({str(error)!r}), status_code {error.status_code}, requests: {len(asked)}")
kinds = {401: "AuthenticationError", 404: "NotFoundError"}
as_described = all(
    found[status, "words"] == ("VideoVectorError", None, 2)
    and found[status, "table"] == found[status, "page"] == (kind, status, 1)
    for status, kind in kinds.items()
)
sys.exit(0 if as_described else 1)
PY
