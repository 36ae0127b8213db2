"""A webhook handler that checks the signature as the AI-Scribe guide's sample does: six labelled lines, hexadecimal HMAC-SHA256.

The secret is in HEALTHIE_WEBHOOK_SECRET. Prints {"port": N} and then what it did with each request, one JSON object a line.
"""

import base64
import hashlib
import hmac
import json
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["HEALTHIE_WEBHOOK_SECRET"].encode()


def refusal(method, target, headers, body):
    """Why a request is refused; None if it is what its signature says."""
    digest, signature = headers.get("content-digest"), headers.get("signature")
    if not digest or not signature or not headers.get("signature-input"):
        return "signature headers missing"
    if digest != f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:":
        return "digest mismatch"
    path, mark, query = target.partition("?")
    search = mark + query if query else ""
    signed = "\n".join([
        f'"@method": {method}',
        f'"@path": {path}',
        f'"@query": ?{search}',
        f'"content-digest": {digest}',
        f'"content-type": {headers.get("content-type")}',
        f'"content-length": {headers.get("content-length")}',
    ])
    expected = hmac.new(SECRET, signed.encode(), hashlib.sha256).hexdigest()
    given = re.sub(r":$", "", re.sub(r"^[^=]+=:", "", signature))
    return None if hmac.compare_digest(expected.encode(), given.encode()) else "signature mismatch"


class Webhook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        why = refusal(self.command, self.path, self.headers, body)
        status = 401 if why else 200
        print(json.dumps({"status": status, "target": self.path, "why": why}), flush=True)
        answer = b"Invalid signature" if why else b"OK"
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
print(json.dumps({"port": server.server_address[1]}), flush=True)
server.serve_forever()
