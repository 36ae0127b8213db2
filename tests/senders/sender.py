"""Signs and sends deliveries as Healthie's documents say, with Python's standard library and nothing of this project's.

Reads jobs from standard input, one JSON object a line, and writes what was answered, one JSON object a line. Connections are kept
alive. A job: to (ADDRESS:PORT), host, target, body, and profile and secret unless it is to be unsigned; method (POST),
content_type (application/json), signed_target (target: what the signature is made for), sent_body (body: what goes out instead
of what was signed), padding (true: whether the guide's digest keeps its '=').
"""

import base64
import hashlib
import hmac
import http.client
import json
import sys

PARTS = '("@method" "@path" "@query" "content-digest" "content-type" "content-length")'


def mac(secret, text):
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256)


def guide(method, path, query, digest, kind, length, secret, padding):
    digest = digest if padding else digest.rstrip("=")
    text = " ".join([method.lower(), path, query, digest, kind, length])
    return f"SHA-256={digest}", "sig1=" + mac(secret, text).hexdigest()


def lines(method, path, query, digest, kind, length):
    return [f'"@method": {method}', f'"@path": {path}', f'"@query": ?{query}', f'"content-digest": {digest}',
            f'"content-type": {kind}', f'"content-length": {length}']


def scribe(method, path, query, digest, kind, length, secret, _padding):
    digest = f"sha-256=:{digest}:"
    # The sample puts a question mark before a search that begins with one already.
    search = "?" + query if query else ""
    text = "\n".join(lines(method, path, search, digest, kind, length))
    return digest, f"sig1=:{mac(secret, text).hexdigest()}:"


def rfc9421(method, path, query, digest, kind, length, secret, _padding):
    digest = f"sha-256=:{digest}:"
    text = "\n".join([*lines(method, path, query, digest, kind, length), f'"@signature-params": {PARTS}'])
    return digest, f"sig1=:{base64.b64encode(mac(secret, text).digest()).decode()}:"


PROFILES = {"guide": guide, "scribe": scribe, "rfc9421": rfc9421}


def headers(job, method, body, sent):
    kind = job.get("content_type", "application/json")
    out = [("Host", job["host"]), ("Content-Type", kind)]
    if "profile" in job:
        path, _, query = job.get("signed_target", job["target"]).partition("?")
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        sign = PROFILES[job["profile"]]
        digest, signature = sign(method, path, query, digest, kind, str(len(body)), job["secret"], job.get("padding", True))
        out += [("Content-Digest", digest), ("Signature-Input", "sig1=" + PARTS), ("Signature", signature)]
    return [*out, ("Content-Length", str(len(sent)))]


class Sender:
    def __init__(self):
        self.connections = {}

    def send(self, job):
        method, body = job.get("method", "POST"), job["body"].encode()
        sent = job.get("sent_body", job["body"]).encode()
        lines = headers(job, method, body, sent)
        for last in (False, True):
            fresh = job["to"] not in self.connections
            connection = self.connections.setdefault(job["to"], http.client.HTTPConnection(job["to"], timeout=60))
            try:
                connection.putrequest(method, job["target"], skip_host=True, skip_accept_encoding=True)
                for name, value in lines:
                    connection.putheader(name, value)
                connection.endheaders(sent)
                answer = connection.getresponse()
                return {"status": answer.status, "headers": answer.getheaders(), "body": answer.read().decode("utf-8", "replace")}
            except (OSError, http.client.HTTPException) as error:
                self.connections.pop(job["to"]).close()
                # A kept connection may have been closed meanwhile; nobody has answered, so the request goes out once more.
                if fresh or last:
                    return {"error": f"{type(error).__name__}: {error}"}


sender = Sender()
for line in sys.stdin:
    print(json.dumps(sender.send(json.loads(line))), flush=True)
