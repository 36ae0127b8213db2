"""A webhook handler as a developer writes it, right or with one fault, for `healthie-tunnel check` to find.

Arguments: the profile (guide, scribe, rfc9421) and the fault's name, or `right`. The secret is in HEALTHIE_WEBHOOK_SECRET.
Prints {"port": N}. Knows one path prefix that a proxy takes off: /api.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = os.environ["HEALTHIE_WEBHOOK_SECRET"].encode()
PROFILE, FAULT = sys.argv[1:3]

seen = set()


class Refused(Exception):
    """What is answered with this status."""

    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


def base64_of(data):
    return base64.b64encode(data).decode()


def mac(text):
    return hmac.new(SECRET, text.encode(), hashlib.sha256)


def same(expected, given):
    if FAULT == "partial-signature":
        return all(a == b for a, b in zip(expected, given))
    return hmac.compare_digest(expected.encode(), given.encode())


def expected_signature(method, target, headers, body, digest):
    path, mark, query = target.partition("?")
    if FAULT == "mounted-path":
        path = path.removeprefix("/api")
    if FAULT == "trailing-slash":
        path = path.rstrip("/")
    if FAULT == "drops-query":
        mark = query = ""
    if FAULT == "method-unchecked":
        method = "POST"
    content_type, length = headers["Content-Type"], len(body)
    if FAULT == "counts-characters":
        length = len(body.decode())
    if PROFILE == "guide":
        value = digest.split("=")[1] if FAULT == "strips-padding" else digest.split("=", 1)[1]
        return mac(" ".join([method.lower(), path, query, value, content_type, str(length)])).hexdigest()
    lines = [
        f'"@method": {method}',
        f'"@path": {path}',
        f'"@query": ?{mark + query if PROFILE == "scribe" else query}',
        f'"content-digest": {digest}',
        f'"content-type": {content_type}',
        f'"content-length": {length}',
    ]
    if PROFILE == "scribe":
        return mac("\n".join(lines)).hexdigest()
    params = headers["Signature-Input"].split("=", 1)[1]
    return base64_of(mac("\n".join([*lines, f'"@signature-params": {params}'])).digest())


def verify(method, target, headers, body):
    digest, given = headers.get("Content-Digest"), headers.get("Signature")
    if FAULT == "no-verification":
        return
    if FAULT == "accepts-unsigned" and not given:
        return
    if not digest or not given or not headers.get("Signature-Input"):
        if FAULT == "refuses-with-5xx":
            raise KeyError("Signature")
        raise Refused(401, "signature headers missing")
    if FAULT == "re-serialises":
        body = json.dumps(json.loads(body), separators=(",", ":")).encode()
    actual = base64_of(hashlib.sha256(body).digest())
    claimed = digest.split("=", 1)[1].strip(":")
    if FAULT != "body-unchecked" and not hmac.compare_digest(actual, claimed):
        raise Refused(401, "digest mismatch")
    if FAULT == "digest-only":
        return
    if not same(expected_signature(method, target, headers, body, digest), given.split("=", 1)[1].strip(":")):
        raise Refused(401, "signature mismatch")


def handle(body):
    event = json.loads(body)
    kind, resource_id = event["event_type"], event["resource_id"]
    if FAULT == "integer-ids":
        resource_id.strip()
    if FAULT == "string-ids" and not isinstance(resource_id, int):
        raise Refused(422, "resource_id must be an integer")
    if FAULT == "needs-changed-fields" and kind.endswith(".updated"):
        event["changed_fields"][0:]
    if FAULT == "unknown-events-500":
        {"appointment": 1, "task": 2}[kind.split(".")[0]]
    if FAULT == "unknown-events-refused" and kind.split(".")[0] == "starship":
        raise Refused(400, "no such event")
    if FAULT == "order-dependent" and kind == "appointment.deleted" and resource_id not in seen:
        raise Refused(404, "no such appointment")
    if FAULT == "refuses-repeats" and body in seen:
        raise Refused(409, "seen before")
    seen.update([body, resource_id])


class Webhook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(min(length, 65536) if FAULT == "large-bodies" else length)
        headers = dict(self.headers) if FAULT == "header-letter-case" else self.headers
        status, why, location = 200, "ok", None
        try:
            verify(self.command, self.path, headers, body)
            if FAULT == "redirects" and not self.path.endswith("/"):
                status, location = 308, self.path + "/"
            else:
                handle(body)
        except Refused as refused:
            status, why = refused.status, str(refused)
        except Exception as error:
            if FAULT == "integer-ids":
                raise  # what http.server does with it: the connection is closed without an answer
            status, why = 500, repr(error)
        answer = json.dumps({"why": why}).encode()
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        if FAULT == "large-bodies":
            self.send_header("Connection", "close")
            self.close_connection = True
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    if FAULT == "method-unchecked":
        do_PUT = do_POST

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    # Five, the default, is not enough for fifty deliveries at once.
    request_queue_size = 128


server = Server(("127.0.0.1", 0), Webhook)
print(json.dumps({"port": server.server_address[1]}), flush=True)
server.serve_forever()
