"""A webhook handler that checks the signature as Healthie's developer guide does: one line of six parts, hexadecimal HMAC-SHA256.

The secret is in HEALTHIE_WEBHOOK_SECRET. Prints {"port": N} and then what it did with each request, one JSON object a line.
"""

import base64
import hashlib
import hmac
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["HEALTHIE_WEBHOOK_SECRET"].encode()


def refusal(method, target, headers, body):
    """Why a request is refused; None if it is what its signature says."""
    digest_header, signature = headers.get("Content-Digest"), headers.get("Signature")
    if not digest_header or not signature or not headers.get("Signature-Input"):
        return "signature headers missing"
    digest = digest_header.split("=", 1)[1]
    if digest.rstrip("=") != base64.b64encode(hashlib.sha256(body).digest()).decode().rstrip("="):
        return "digest mismatch"
    path, _, query = target.partition("?")
    signed = " ".join([method.lower(), path, query, digest, headers.get("Content-Type", ""), str(len(body))])
    expected = hmac.new(SECRET, signed.encode(), hashlib.sha256).hexdigest()
    given = signature.split("=", 1)[1]
    return None if hmac.compare_digest(expected.encode(), given.encode()) else "signature mismatch"


class Webhook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        why = refusal(self.command, self.path, self.headers, body)
        status = 401 if why else 200
        print(json.dumps({"status": status, "target": self.path, "why": why}), flush=True)
        answer = json.dumps({"ok": why is None, "why": why}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
print(json.dumps({"port": server.server_address[1]}), flush=True)
server.serve_forever()
