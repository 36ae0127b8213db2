#!/usr/bin/env python3
"""Writes the corpus of raw requests: the files *.toml beside it, one for each family. A test compares what it writes with what is there.

Each case has a name, a reason, the bytes to send, the statuses that must come back when they are sent straight to the relay, and the
deliveries that must arrive then. `means` lists what a sender could rightly have meant by the bytes, where that is more than what is
delivered straight: a proxy that repairs a request may hand on no more than that. In targets, `/hook/` is the request
itself, `/second/` one that follows it for all who agree on where it ends, and `/smuggled/` one that only a reader in error sees, because it
stands in a body: it must never arrive.

In `send` line ends are not part of the bytes. Escapes: \\r \\n \\t \\\\ \\xHH, and \\{N*TEXT} for N times TEXT.
"""

import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
HOST = "Host: team.relay.test"
FAMILIES = {}
NAMES = set()


def show(data: bytes) -> str:
    out = []
    for b in data:
        c = chr(b)
        out.append({"\r": "\\r", "\n": "\\n", "\t": "\\t", "\\": "\\\\"}.get(c) or (c if 32 <= b < 127 else f"\\x{b:02X}"))
    text = "".join(out).replace("'''", "\\x27\\x27\\x27")
    # Long runs of one character are named, not written.
    text = re.sub(r"([A-Za-z0-9/])\1{199,}", lambda m: "\\{%d*%s}" % (len(m.group(0)), m.group(1)), text)
    text = re.sub(r"((?:[A-Z0-9-]{1,8}: \w{1,3}\\r\\n))\1{19,}", lambda m: "\\{%d*%s}" % (len(m.group(0)) // len(m.group(1)), m.group(1)), text)
    return "\n".join(part for part in re.split(r"(?<=\\n)(?=.)", text))


def case(family, name, why, data, answers, delivers=(), means=None):
    assert name not in NAMES, name
    NAMES.add(name)
    if isinstance(data, str):
        data = data.encode("latin-1")
    if f"POST /second/{name} ".encode() in data and (f"/second/{name}", "{}") not in delivers:
        # What follows is not read straight, and whoever repairs the request before it may hand it on.
        means = [*(means or []), (f"/second/{name}", "{}")]
    lines = ["[[case]]", f'name = "{name}"', f"why = {json.dumps(why)}", "send = '''", show(data) + "'''", f"answers = {list(answers)}"]
    pair = lambda ds: "[" + ", ".join(json.dumps([t, b]) for t, b in ds) + "]"
    lines.append(f"delivers = {pair(delivers)}")
    if means is not None:
        lines.append(f"means = {pair(means)}")
    FAMILIES.setdefault(family, []).append("\n".join(lines) + "\n")


def request(target, lines=(HOST,), body="", method="POST", version="HTTP/1.1"):
    return "".join([f"{method} {target} {version}\r\n", *(line + "\r\n" for line in lines), "\r\n", body])


def post(kind, name, body="{}"):
    """A request that nobody could misread."""
    return request(f"/{kind}/{name}", [HOST, f"Content-Length: {len(body)}"], body)


def hook(name, body="{}"):
    return (f"/hook/{name}", body)


def second(name, body="{}"):
    return (f"/second/{name}", body)


# ---------------------------------------------------------------- lengths


def lengths():
    f = "lengths"
    smuggled = lambda n: post("smuggled", n)

    def length(name, why, value, answers=(400,), delivers=(), means=None, body="{}"):
        name = f"cl-{name}"
        data = request(f"/hook/{name}", [HOST, f"Content-Length:{value}"], body) + (post("second", name) if answers == (400,) else "")
        case(f, name, why, data, answers, [hook(name, body)] if delivers else [], means and [hook(name, body)])

    good = dict(answers=(200,), delivers=True)
    length("plain", "the usual", " 2", **good)
    length("no-blank", "a blank after the colon is not needed", "2", **good)
    length("blanks", "blanks around a value are no part of it", "   2  ", **good)
    length("tabs", "tabs neither", "\t2\t", **good)
    length("leading-zeros", "digits are digits", " 0002", **good)
    maybe = dict(means=True)
    for name, value, why in [
        ("plus", " +2", "a sign is no digit"), ("minus", " -2", "a sign is no digit"), ("minus-zero", " -0", "a sign is no digit"),
        ("fraction", " 2.0", "a length is whole"), ("exponent", " 2e0", "digits only"), ("hex", " 0x2", "digits only"),
        ("hex-letter", " 2h", "digits only"), ("binary", " 0b10", "digits only"), ("octal", " 0o2", "digits only"),
        ("underscore-in-value", " 0_2", "what some languages take for a number"), ("quoted", ' "2"', "no quotes"),
        ("semicolon", " 2;", "no parameters"), ("comment", " 2 (two)", "no comments"), ("two-words", " 2 2", "one number"),
        ("nothing", "", "a length of no digits"), ("blank-only", " ", "a length of no digits"), ("word", " two", "digits only"),
        ("vertical-tab-before", " \x0b2", "0x0B is no blank"), ("vertical-tab-after", " 2\x0b", "0x0B is no blank"),
        ("form-feed", " 2\x0c", "0x0C is no blank"), ("nul", " 2\x00", "NUL is in no value"), ("nul-before", " \x002", "NUL is in no value"),
        ("no-break-space", " 2\xa0", "0xA0 is no blank"), ("fullwidth", " \xef\xbc\x92", "a digit of Unicode is none of HTTP"),
        ("arabic", " \xd9\xa2", "a digit of Unicode is none of HTTP"), ("bare-cr", " 2\r", "a CR alone ends nothing"),
        ("percent", " %32", "nothing is decoded here"), ("backspace", " 12\x08", "control characters are in no value"),
        ("nineteen-digits", " 0000000000000000002", "more digits than any length has"),
        ("2-to-the-32", " 4294967298", "2 modulo 2^32"), ("2-to-the-63", " 9223372036854775810", "2 modulo 2^63"),
        ("2-to-the-64", " 18446744073709551618", "2 modulo 2^64"), ("2-to-the-128", " 340282366920938463463374607431768211458", "2 modulo 2^128"),
        ("googol", " 1" + "0" * 100, "more than there are bytes"), ("thousand-zeros", " " + "0" * 1000 + "2", "as many digits as somebody likes"),
        ("list-equal", " 2, 2", "a list of lengths is refused, though RFC 9110 lets it be taken as one"),
        ("list-equal-tight", " 2,2", "likewise"), ("list-differing", " 2, 40", "a list of lengths that differ"),
        ("list-trailing-comma", " 2,", "a list"), ("list-leading-comma", " ,2", "a list"),
    ]:
        if name == "2-to-the-32":
            # It is a number, and longer than any body that is taken.
            case(f, "cl-" + name, why, request("/hook/cl-" + name, [HOST, "Content-Length:" + value], "{}") + smuggled("cl-" + name), (413,))
        else:
            length(name, why, value, **maybe)

    def lines(name, why, lines, answers=(400,), delivers=(), means=None, body="{}", after=None):
        data = request(f"/hook/{name}", [HOST, *lines], body) + (post("second", name) if after is None else after)
        case(f, name, why, data, answers, delivers, means)

    for a, b, name in [("2", "2", "equal"), ("2", "40", "differing"), ("40", "2", "differing-other-way"), ("0", "2", "zero-first"), ("2", "x", "second-no-number")]:
        n = f"cl-twice-{name}"
        lines(n, "two lines of length", [f"Content-Length: {a}", f"Content-Length: {b}"], means=[hook(n)])
    n = "cl-twice-letter-case"
    lines(n, "names have no letter case", ["Content-Length: 2", "CONTENT-LENGTH: 40"], means=[hook(n)])
    n = "cl-three-times"
    lines(n, "three lines of length", ["Content-Length: 2"] * 3, means=[hook(n)])
    n = "cl-apart"
    lines(n, "two lines of length with others between", ["Content-Length: 2", "X-A: 1", "X-B: 2", "Content-Length: 2"], means=[hook(n)])
    for name, line, why in [
        ("space-before-colon", "Content-Length : 2", "RFC 9112, section 5.1: no blank between name and colon"),
        ("tab-before-colon", "Content-Length\t: 2", "likewise a tab"), ("folded", "Content-Length:\r\n 2", "a value in a folded line"),
        ("folded-into-other", "X: y\r\n Content-Length: 2", "a folded line that looks like a length"),
        ("nul-in-name", "Content-Length\x00: 2", "NUL is in no name"), ("nul-in-middle", "Content\x00-Length: 2", "NUL is in no name"),
        ("bare-cr-before", "X: y\rContent-Length: 2", "a CR alone ends no line"), ("bare-lf-before", "X: y\nContent-Length: 2", "LF alone ends no line"),
        ("double-colon", "Content-Length:: 2", "the value begins with a colon"), ("equals", "Content-Length= 2", "a line without a colon"),
        ("no-colon", "Content-Length 2", "a line without a colon"), ("utf8-dash", "Content\xe2\x80\x90Length: 2", "a dash that is not ASCII"),
    ]:
        n = f"cl-name-{name}"
        lines(n, why, [line], means=[hook(n), hook(n, "")])
    n = "cl-name-underscore"
    lines(n, "another name: there is no body, and what follows is a request of its own", ["Content_Length: 2"], (200, 200), [hook(n, ""), second(n)], body="", after=post("second", n))
    n = "cl-zero-then-request"
    lines(n, "after a body of nothing the next request is genuine", ["Content-Length: 0"], (200, 200), [hook(n, ""), second(n)], body="", after=post("second", n))
    n = "cl-none-then-request"
    lines(n, "without a length there is no body", [], (200, 200), [hook(n, ""), second(n)], body="", after=post("second", n))
    n = "cl-covers-a-request"
    inner = post("smuggled", n)
    lines(n, "a body that looks like a request is a body", [f"Content-Length: {len(inner)}"], (200,), [hook(n, inner.replace("\r\n", "~~"))], body=inner.replace("\r\n", "~~"), after="")
    inner = "POST /smuggled/x HTTP/1.1 " + "{}"
    n = "cl-covers-a-request-line"
    lines(n, "likewise its first line only", [f"Content-Length: {len(inner)}"], (200,), [hook(n, inner)], body=inner, after="")
    n = "cl-shorter-than-body"
    lines(n, "what is left over is no request", ["Content-Length: 2"], (200, 400), [hook(n)], body="{}\x01\x02", after="")
    n = "cl-longer-than-body"
    lines(n, "the body breaks off: nothing is delivered", ["Content-Length: 50"], (400,), [], body="{}", after="")
    n = "cl-over-the-limit"
    lines(n, "longer than the relay takes: told before it is read", ["Content-Length: 999999999999999999"], (413,), [], body="{}", after="")
    n = "cl-http10"
    case(f, n, "HTTP/1.0 has lengths too", request(f"/hook/{n}", [HOST, "Content-Length: 2"], "{}", version="HTTP/1.0"), (200,), [hook(n)])
    for where, target, host, method, status in [
        ("healthz", "/healthz", "relay.test", "GET", 200), ("readyz", "/readyz", "relay.test", "GET", 200), ("root", "/", "relay.test", "GET", 200),
        ("nothing", "/nothing/here", "relay.test", "POST", 404), ("no-tunnel", "/x", "absent.relay.test", "POST", 404),
        ("agent", "/agent/v1", "relay.test", "GET", 401), ("agent-post", "/agent/v1", "relay.test", "POST", 401),
        ("method", "/healthz", "relay.test", "POST", 405), ("misdirected", "/x", "evil.example", "POST", 421),
    ]:
        n = f"cl-unread-body-{where}"
        inner = post("smuggled", n)
        data = request(target, [f"Host: {host}", f"Content-Length: {len(inner)}"], inner, method=method)
        case(f, n, "an endpoint that reads no body must not leave it to be read as a request", data, (status,))


# ---------------------------------------------------------------- transfer codings


def codings():
    f = "codings"
    body = "2\r\n{}\r\n0\r\n\r\n"
    good = {"plain": " chunked", "capital": " Chunked", "capitals": " CHUNKED", "no-blank": "chunked", "blanks": "   chunked  ", "tabs": "\tchunked\t"}
    bad = {
        "x-before": " xchunked", "x-after": " chunkedx", "trailing-comma": " chunked,", "leading-comma": " ,chunked", "only-comma": " ,", "then-identity": " chunked, identity",
        "after-identity": " identity, chunked", "identity": " identity", "gzip": " gzip", "gzip-chunked": " gzip, chunked", "chunked-gzip": " chunked, gzip",
        "twice-in-list": " chunked, chunked", "quoted": ' "chunked"', "single-quoted": " 'chunked'", "parameter": " chunked;q=1", "semicolon": " chunked;",
        "cut": " chunke", "inner-blank": " chun ked", "two-words": " chunked chunked", "word-before": " x chunked", "vertical-tab-before": " \x0bchunked", "vertical-tab-after": " chunked\x0b", "form-feed": " chunked\x0c",
        "nul": " chunked\x00", "no-break-space": " \xa0chunked", "no-break-space-after": " chunked\xa0", "kelvin": " chun\xe2\x84\xaaed", "nothing": "", "blank-only": " ", "deflate": " deflate", "br": " br",
        "trailers": " trailers", "unknown": " cow", "bare-cr": " chunked\r", "bare-cr-before": " \rchunked", "folded": "\r\n chunked", "folded-tab": "\r\n\tchunked", "fold-after": " chunked\r\n identity",
        "colon": ": chunked", "slash": " chunked/1", "percent": " %63hunked", "backslash": " chunked\\", "delete": " chunked\x7f",
    }
    for name, value in good.items():
        n = f"te-{name}"
        case(f, n, "rightly said", request(f"/hook/{n}", [HOST, f"Transfer-Encoding:{value}"], body), (200,), [hook(n)])
    for name, value in bad.items():
        n = f"te-{name}"
        rest = post("second", n)
        case(f, n, "chunked and nothing else", request(f"/hook/{n}", [HOST, f"Transfer-Encoding:{value}"], body) + rest, (400,), [], [hook(n)])
    for name, value in {**good, **bad}.items():
        if name in ("blanks", "tabs", "capital", "no-blank", "only-comma", "percent", "slash", "backslash", "br", "deflate"):
            continue
        # The length ends within the chunks, or the chunks within the length: whoever believes the other line sees another request.
        n = f"te-{name}-with-length"
        rest = post("smuggled", n)
        case(f, n, "a coding beside a length", request(f"/hook/{n}", [HOST, f"Content-Length: {len(body) + len(rest)}", f"Transfer-Encoding:{value}"], body + rest), (400,), [], [hook(n)])
    for name, first, then in [("te-then-cl", "Transfer-Encoding: chunked", "Content-Length: 5"), ("cl-zero-then-te", "Content-Length: 0", "Transfer-Encoding: chunked"), ("cl-short-then-te", "Content-Length: 4", "Transfer-Encoding: chunked"), ("te-then-cl-bad", "Transfer-Encoding: chunked", "Content-Length: x")]:
        n = f"both-{name}"
        case(f, n, "both framings", request(f"/hook/{n}", [HOST, first, then], body) + post("second", n), (400,), [], [hook(n)])
    for name, values in {"equal": ("chunked", "chunked"), "identity-last": ("chunked", "identity"), "identity-first": ("identity", "chunked"), "unknown-last": ("chunked", "cow"), "unknown-first": ("cow", "chunked"), "empty-first": ("", "chunked"), "empty-last": ("chunked", "")}.items():
        n = f"te-twice-{name}"
        case(f, n, "two lines of coding", request(f"/hook/{n}", [HOST, *(f"Transfer-Encoding: {v}" for v in values)], body) + post("second", n), (400,), [], [hook(n)])
    for name, line in {
        "space-before-colon": "Transfer-Encoding : chunked", "tab-before-colon": "Transfer-Encoding\t: chunked", "nul-before-colon": "Transfer-Encoding\x00: chunked", "space-first": "X: y\r\n Transfer-Encoding: chunked",
        "bare-cr": "X: y\rTransfer-Encoding: chunked", "bare-lf": "X: y\nTransfer-Encoding: chunked", "no-colon": "Transfer-Encoding chunked", "break-before-colon": "Transfer-Encoding\r\n: chunked", "bracket": "[Transfer-Encoding: chunked",
        "quoted": '"Transfer-Encoding": chunked', "cr-lf-cr": "X: y\r\rTransfer-Encoding: chunked", "lf-cr": "X: y\n\rTransfer-Encoding: chunked", "high-byte": "Transfer-Encoding\xff: chunked",
    }.items():
        n = f"te-name-{name}"
        rest = post("smuggled", n)
        case(f, n, "a line that only some read as a coding, beside a length", request(f"/hook/{n}", [HOST, f"Content-Length: {len(body) + len(rest)}", line], body + rest), (400,), [], [hook(n), (hook(n)[0], body + rest)])
    for name, line in {"underscore": "Transfer_Encoding: chunked", "te": "TE: chunked", "prefix": "X-Transfer-Encoding: chunked", "cut": "Transfer-Encodin: chunked", "longer": "Transfer-Encodings: chunked", "trailer": "Trailer: Transfer-Encoding", "content-encoding": "Content-Encoding: chunked", "connection": "Connection: Transfer-Encoding"}.items():
        n = f"te-other-name-{name}"
        case(f, n, "another name: the length counts", request(f"/hook/{n}", [HOST, "Content-Length: 7", line], "2|{}|0|"), (200,), [hook(n, "2|{}|0|")])
    for name, line in {"upper": "TRANSFER-ENCODING: chunked", "lower": "transfer-encoding: chunked", "mixed": "tRaNsFeR-eNcOdInG: chunked"}.items():
        n = f"te-name-{name}"
        case(f, n, "names have no letter case", request(f"/hook/{n}", [HOST, line], body), (200,), [hook(n)])
    n = "te-http10"
    case(f, n, "HTTP/1.0 has no codings", request(f"/hook/{n}", [HOST, "Transfer-Encoding: chunked"], body, version="HTTP/1.0") + post("second", n), (400,), [], [hook(n)])
    n = "te-http10-with-length"
    case(f, n, "HTTP/1.0 has no codings", request(f"/hook/{n}", [HOST, "Content-Length: 2", "Transfer-Encoding: chunked"], body, version="HTTP/1.0") + post("second", n), (400,), [], [hook(n)])


# ---------------------------------------------------------------- chunks


def chunks():
    f = "chunks"
    head = lambda n: request(f"/hook/{n}", [HOST, "Transfer-Encoding: chunked"])

    def good(name, why, body, whole="{}", status=200):
        n = f"chunk-{name}"
        case(f, n, why, head(n) + body, (status,), [hook(n, whole)])

    def bad(name, why, body, status=400, smuggle=True, means=("{}",)):
        n = f"chunk-{name}"
        case(f, n, why, head(n) + body + (post("second", n) if smuggle else ""), (status,), [], [hook(n, m) for m in means])

    end = "0\r\n\r\n"
    good("several", "put together", "1\r\n{\r\n1\r\n}\r\n" + end)
    good("leading-zero", "zeros before a size", "02\r\n{}\r\n" + end)
    good("fifteen-zeros", "zeros before a size", "0" * 15 + "2\r\n{}\r\n" + end)
    good("capital-hex", "hex in capitals", "A\r\n{\"a\": \"b\"}\r\n" + end, '{"a": "b"}')
    good("small-hex", "hex in small letters", "a\r\n{\"a\": \"b\"}\r\n" + end, '{"a": "b"}')
    good("extension", "an extension says nothing to us", "2;a=b\r\n{}\r\n" + end)
    good("extension-quoted", "with a quoted value", '2;a="b;c"\r\n{}\r\n' + end)
    good("extension-only-name", "without a value", "2;a\r\n{}\r\n" + end)
    good("extension-at-end", "at the last chunk", "2\r\n{}\r\n0;a=b\r\n\r\n")
    good("blank-before-extension", "RFC 9112 allows it, badly", "2 ;a\r\n{}\r\n" + end)
    good("blank-after-size", "the library below takes blanks after a size; nothing can follow it, so nothing can be misread", "2 \r\n{}\r\n" + end)
    good("several-zeros-at-end", "the last chunk is one of size 0", "2\r\n{}\r\n000\r\n\r\n")
    good("empty", "a body of nothing", end, "")
    good("trailer", "trailers are dropped, and the record says so", "2\r\n{}\r\n0\r\nX-After: 1\r\n\r\n")
    good("trailer-length", "framing in a trailer is none", "2\r\n{}\r\n0\r\nContent-Length: 50\r\n\r\n")
    good("trailer-coding", "framing in a trailer is none", "2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n")
    good("trailer-host", "a Host in a trailer is none", "2\r\n{}\r\n0\r\nHost: evil.example\r\n\r\n")
    inner = "POST /smuggled/x HTTP/1.1"
    good("covers-a-request-line", "what is in a chunk is body", f"{len(inner):x}\r\n{inner}\r\n" + end, inner)
    for name, tail in [("lf-at-end", "0\r\n\n"), ("trailer-lf", "0\r\nX: y\n\r\n")]:
        n = f"chunk-{name}"
        case(f, n, "the library below takes LF alone among trailers; nothing can follow them, so nothing can be misread", head(n) + "2\r\n{}\r\n" + tail + post("second", n), (200,), [hook(n)])
    n = "chunk-then-request"
    case(f, n, "the connection ends after chunks: what follows is not read, and its sender gets no answer", head(n) + "2\r\n{}\r\n" + end + post("second", n), (200,), [hook(n)], [hook(n), second(n)])
    n = "chunk-then-nonsense"
    case(f, n, "likewise", head(n) + "2\r\n{}\r\n" + end + "\x01\x02\r\n\r\n", (200,), [hook(n)])
    n = "chunk-extra-chunk-after-end"
    case(f, n, "a chunk after the last one", head(n) + "2\r\n{}\r\n" + end + "5\r\nGET /\r\n0\r\n\r\n", (200,), [hook(n)])
    for name, size, why in [
        ("plus", "+2", "a sign"), ("minus", "-2", "a sign"), ("minus-zero", "-0", "a sign"), ("hex-prefix", "0x2", "a prefix"), ("not-hex", "g", "no digit"), ("h-after", "2h", "a unit"),
        ("nothing", "", "no digits"), ("blank", " ", "no digits"), ("blank-before", " 2", "a blank before"), ("tab-before", "\t2", "a tab before"), ("two-sizes", "2 2", "two sizes"), ("comma", "2,2", "a list"),
        ("quoted", '"2"', "quotes"), ("underscore", "0_2", "what some languages take for a number"), ("dot", "2.0", "a fraction"), ("vertical-tab", "2\x0b", "0x0B"), ("nul", "2\x00", "NUL"), ("nul-before", "\x002", "NUL"), ("no-break-space", "2\xa0", "0xA0"),
        ("overflow-16", "FFFFFFFFFFFFFFFF", "2^64 - 1"), ("overflow-wrap", "10000000000000002", "2 modulo 2^64"), ("overflow-17", "FFFFFFFFFFFFFFFFF", "more than 64 bits"), ("overflow-32", "100000002", "2 modulo 2^32: longer than there is"), ("overflow-63", "8000000000000002", "2 modulo 2^63"),
        ("comment", "2 (two)", "a comment"), ("carriage-return", "2\r", "two CRs"), ("percent", "%32", "nothing is decoded"), ("fullwidth", "\xef\xbc\x92", "a digit of Unicode"),
    ]:
        over = {"overflow-16", "overflow-32", "overflow-63"}
        bad(f"size-{name}", why, f"{size}\r\n{{}}\r\n" + end, status=400, smuggle=name not in over)
    bad("lf-after-size", "LF alone", "2\n{}\r\n" + end)
    bad("lf-after-data", "LF alone", "2\r\n{}\n" + end)
    bad("cr-after-size", "CR alone", "2\r{}\r\n" + end)
    bad("cr-after-data", "CR alone", "2\r\n{}\r" + end)
    bad("nothing-after-data", "no end of line after the data", "2\r\n{}" + end)
    bad("data-too-long", "more data than was said", "2\r\n{}  \r\n" + end)
    bad("data-too-short", "less data than was said", "9\r\n{}\r\n" + end, smuggle=False)
    bad("lf-everywhere", "LF alone everywhere", "2\n{}\n0\n\n")
    bad("lf-after-last-size", "LF alone after the last size", "2\r\n{}\r\n0\n\r\n")
    bad("extension-lf", "LF within an extension", "2;a\nb\r\n{}\r\n" + end)
    bad("extension-lf-quoted", "LF within quotes", '2;a="\n"\r\n{}\r\n' + end)
    bad("extension-cr", "CR within an extension", "2;a\rb\r\n{}\r\n" + end)
    bad("extension-long", "an extension of 20,000 bytes", "2;" + "a" * 20000 + "\r\n{}\r\n" + end)
    bad("trailer-bad-name", "a trailer with a name that is none", "2\r\n{}\r\n0\r\nX y: z\r\n\r\n")
    bad("trailer-no-colon", "a trailer without a colon", "2\r\n{}\r\n0\r\nXyz\r\n\r\n")
    bad("trailer-folded", "a folded trailer", "2\r\n{}\r\n0\r\nX: y\r\n z\r\n\r\n")
    bad("trailer-nul", "NUL in a trailer", "2\r\n{}\r\n0\r\nX: \x00\r\n\r\n")
    bad("trailer-long", "a trailer of 100,000 bytes", "2\r\n{}\r\n0\r\nX: " + "y" * 100000 + "\r\n\r\n")
    bad("trailers-many", "3,000 trailers", "2\r\n{}\r\n0\r\n" + "X: y\r\n" * 3000 + "\r\n")
    bad("no-end", "no last chunk", "2\r\n{}\r\n", smuggle=False)
    bad("no-final-line", "no empty line at the end", "2\r\n{}\r\n0\r\n", smuggle=False)
    bad("size-only", "a size and nothing more", "2\r\n", smuggle=False)
    bad("none", "no chunks at all", "", smuggle=False, means=())
    bad("request-instead", "a request in place of a chunk", post("smuggled", "chunk-request-instead"), smuggle=False, means=())
    bad("over-the-limit", "one chunk longer than the relay takes", "100001\r\n" + "x" * 1048577 + "\r\n" + end, status=413, means=())


# ---------------------------------------------------------------- lines


def lines():
    f = "lines"
    ok = ["Content-Length: 2"]

    def with_line(name, why, line, answers=(400,), means=True):
        n = f"line-{name}"
        data = request(f"/hook/{n}", [HOST, line, *ok], "{}")
        good = answers == (200,)
        case(f, n, why, data + ("" if good else post("second", n)), answers, [hook(n)] if good else [], None if good else [hook(n)])

    with_line("plain", "the usual", "X-A: b", (200,))
    with_line("empty-value", "a value may be empty", "X-A:", (200,))
    with_line("high-bytes", "obs-text is passed on as it is", "X-A: \xe4\xf6\xfc", (200,))
    with_line("utf8", "likewise UTF-8", "X-A: \xc3\xa4", (200,))
    with_line("tab-in-value", "a tab is allowed within", "X-A: b\tc", (200,))
    with_line("all-name-characters", "everything a name may have", "!#$%&'*+-.^_`|~0aZ: b", (200,))
    with_line("colon-in-value", "colons in values are values", "X-A: b: c", (200,))
    with_line("thousand-bytes", "a long value", "X-A: " + "b" * 1000, (200,))
    for name, line, why in [
        ("folded-space", "X-A: b\r\n c", "obs-fold with a blank"), ("folded-tab", "X-A: b\r\n\tc", "obs-fold with a tab"), ("folded-twice", "X-A: b\r\n c\r\n d", "obs-fold twice"), ("folded-empty", "X-A:\r\n b", "obs-fold of an empty value"), ("folded-blank-only", "X-A: b\r\n  ", "a line of blanks"),
        ("no-colon", "X-A b", "no colon"), ("only-colon", ":", "no name"), ("empty-name", ": b", "no name"), ("blank-name", " : b", "a name of a blank"), ("space-in-name", "X A: b", "a blank in a name"), ("space-before-colon", "X-A : b", "a blank before the colon"),
        ("tab-before-colon", "X-A\t: b", "a tab before the colon"), ("paren-in-name", "X(A): b", "no name character"), ("at-in-name", "X@A: b", "no name character"), ("slash-in-name", "X/A: b", "no name character"), ("brackets-in-name", "X[A]: b", "no name character"),
        ("quotes-in-name", 'X"A: b', "no name character"), ("equals-in-name", "X=A: b", "no name character"), ("comma-in-name", "X,A: b", "no name character"), ("semicolon-in-name", "X;A: b", "no name character"), ("backslash-in-name", "X\\A: b", "no name character"),
        ("high-byte-in-name", "X-\xe4: b", "no name character"), ("control-in-name", "X\x01A: b", "a control character"), ("nul-in-name", "X\x00A: b", "NUL"), ("delete-in-name", "X\x7fA: b", "DEL"), ("cr-in-name", "X\rA: b", "CR"),
        ("nul-in-value", "X-A: b\x00c", "NUL"), ("bell-in-value", "X-A: b\x07c", "a control character"), ("escape-in-value", "X-A: b\x1b[2Jc", "a control character"), ("vertical-tab-in-value", "X-A: b\x0bc", "a control character"), ("delete-in-value", "X-A: b\x7fc", "DEL"),
        ("bare-cr-in-value", "X-A: b\rc", "CR alone"), ("bare-cr-at-end", "X-A: b\r", "CR CR LF"), ("bare-lf-in-value", "X-A: b\nX-B: c", "LF alone ends no line"), ("lf-cr", "X-A: b\n\rX-B: c", "LF CR"),
        ("request-line-again", "POST /smuggled/line HTTP/1.1", "a request line among the header lines"), ("space-first", " X-A: b", "a blank before the first line after Host is a fold"),
    ]:
        with_line(name, why, line)

    def whole(name, why, data, answers, delivers=(), means=None):
        case(f, f"line-{name}", why, data, answers, delivers, means)

    def put(n):
        return post("hook", f"line-{n}")

    n = "leading-crlf"
    whole(n, "an empty line before a request is passed over (RFC 9112, section 2.2)", "\r\n" + put(n), (200,), [hook("line-" + n)])
    n = "leading-crlfs"
    whole(n, "several too", "\r\n" * 5 + put(n), (200,), [hook("line-" + n)])
    n = "crlf-between"
    whole(n, "also between two requests", put(n) + "\r\n" + post("second", "line-" + n), (200, 200), [hook("line-" + n), second("line-" + n)])
    n = "leading-lf"
    whole(n, "LF alone is no empty line", "\n" + put(n), (400,), [], [hook("line-" + n)])
    n = "leading-lfs"
    whole(n, "LF alone is no empty line", "\n\n" + put(n), (400,), [], [hook("line-" + n)])
    n = "leading-cr"
    whole(n, "CR alone is no empty line", "\r" + put(n), (400,), [], [hook("line-" + n)])
    n = "leading-blank"
    whole(n, "a blank before the method", " " + put(n), (400,), [], [hook("line-" + n)])
    n = "leading-tab"
    whole(n, "a tab before the method", "\t" + put(n), (400,), [], [hook("line-" + n)])
    n = "lf-everywhere"
    whole(n, "LF alone everywhere", put(n).replace("\r\n", "\n"), (400,), [], [hook("line-" + n)])
    n = "lf-after-request-line"
    whole(n, "LF alone after the request line", put(n).replace("\r\n", "\n", 1), (400,), [], [hook("line-" + n)])
    n = "lf-at-end-of-head"
    whole(n, "the empty line is LF alone", put(n).replace("\r\n\r\n", "\r\n\n", 1), (400,), [], [hook("line-" + n)])
    n = "lf-lf-at-end-of-head"
    whole(n, "the last line and the empty line are LF alone", put(n).replace("\r\n\r\n", "\n\n", 1), (400,), [], [hook("line-" + n)])
    n = "cr-everywhere"
    whole(n, "CR alone everywhere", put(n).replace("\r\n", "\r"), (400,), [], [hook("line-" + n)])
    n = "cr-after-request-line"
    whole(n, "CR alone after the request line", put(n).replace("\r\n", "\r", 1), (400,), [], [hook("line-" + n)])
    n = "nothing"
    whole(n, "nothing at all", "", (), [])
    n = "only-crlf"
    whole(n, "empty lines and nothing else", "\r\n\r\n", (), [])
    n = "half-a-line"
    whole(n, "the request line breaks off", "POST /hook/li", (), [])
    n = "half-a-head"
    whole(n, "the head breaks off", "POST /hook/line-half-a-head HTTP/1.1\r\nHost: team.rel", (), [])
    n = "no-empty-line"
    whole(n, "the head never ends", "POST /hook/line-no-empty-line HTTP/1.1\r\nHost: team.relay.test\r\n", (), [])
    n = "blank-line-of-blanks"
    whole(n, "the empty line has a blank in it", put(n).replace("\r\n\r\n", "\r\n \r\n", 1), (400,), [], [hook("line-" + n)])
    n = "blank-after-request-line"
    whole(n, "a line of blanks after the request line", put(n).replace("\r\n", "\r\n \r\n", 1), (400,), [], [hook("line-" + n)])
    n = "indented-first-line"
    whole(n, "a blank before the first header line", put(n).replace("\r\nHost", "\r\n Host", 1), (400,), [], [hook("line-" + n)])
    many = lambda count: [HOST, "Content-Length: 2", *(["X: y"] * (count - 2))]
    n = "hundred"
    whole(n, "as many lines as are taken", request(f"/hook/line-{n}", many(100), "{}"), (200,), [hook("line-" + n)])
    n = "hundred-and-one"
    whole(n, "one line more", request(f"/hook/line-{n}", many(101), "{}"), (431,), [], [hook("line-" + n)])
    n = "ten-thousand"
    whole(n, "ten thousand lines", request(f"/hook/line-{n}", many(10000), "{}"), (431,), [], [])
    n = "forty-thousand-bytes"
    whole(n, "a value longer than a head may be", request(f"/hook/line-{n}", [HOST, "X-A: " + "b" * 40000, "Content-Length: 2"], "{}"), (431,), [], [hook("line-" + n)])
    n = "million-bytes"
    whole(n, "a value far longer than a head may be", request(f"/hook/line-{n}", [HOST, "X-A: " + "b" * 1000000, "Content-Length: 2"], "{}"), (431,), [], [])
    n = "long-name"
    whole(n, "a name longer than a head may be", request(f"/hook/line-{n}", [HOST, "X" * 70000 + ": b", "Content-Length: 2"], "{}"), (431,), [], [])


# ---------------------------------------------------------------- targets


def targets():
    f = "targets"

    def target(name, why, text, answers=(400,), means=None, method="POST", delivered=None):
        n = f"target-{name}"
        text = text.replace("NAME", n)
        data = request(text, [HOST, "Content-Length: 2"], "{}", method=method)
        good = answers == (200,)
        wanted = [(delivered.replace("NAME", n) if delivered else text, "{}")]
        meant = [(m.replace("NAME", n), "{}") for m in means] if means is not None else None
        case(f, n, why, data + ("" if good else post("second", n)), answers, wanted if good else [], meant)

    for name, text, why in [
        ("query", "/hook/NAME?a=b&c=%20", "a query is part of it"), ("only-query", "/?NAME", "an empty path with a query"), ("double-slash", "//hook//NAME", "nothing is merged"), ("dots", "/hook/../NAME", "nothing is resolved"), ("encoded-dots", "/hook/%2e%2e/NAME", "nothing is decoded"),
        ("encoded-slash", "/hook%2fNAME", "nothing is decoded"), ("encoded-nul", "/hook/%00/NAME", "nothing is decoded"), ("encoded-crlf", "/hook/NAME%0d%0aX:%20y", "nothing is decoded"), ("bad-percent", "/hook/%zz/NAME", "nothing is decoded"), ("backslash", "/hook\\NAME", "a backslash is a character"),
        ("semicolon", "/hook;a=b/NAME", "a parameter is a character"), ("colon", "/hook:80/NAME", "a colon is a character"), ("at", "/@evil.example/NAME", "an at sign is a character"), ("absolute-within", "/http://evil.example/NAME", "a URL within a path is a path"), ("quotes", "/hook/\"NAME\"", "quotes are characters"), ("brackets", "/hook/<NAME>", "brackets are characters"),
        ("pipe", "/hook/NAME|{}", "and so are these"), ("caret", "/hook/NAME^`", "and these"), ("long", "/hook/NAME/" + "a" * 7000, "a long path"), ("route-of-ours", "/healthz/NAME", "below a tunnel's host nothing is ours"), ("dot", "/./NAME", "nothing is resolved"), ("tunnel-path", "/t/other/NAME", "below a tunnel's host nothing is ours"),
    ]:
        means = None
        target(name, why, text, (200,), means=[text, text.replace("//", "/"), "/NAME", "/hook/NAME", text.replace("\\", "%5C"), text.replace('"', "%22"), text.replace("<", "%3C").replace(">", "%3E"), text.replace("^`", "%5E%60"), text.replace("|{}", "%7C%7B%7D")])
    for name, text, why, *answers in [
        ("absolute", "http://team.relay.test/hook/NAME", "absolute-form is for proxies"), ("absolute-other-host", "http://evil.example/hook/NAME", "absolute-form for another host"), ("absolute-https", "https://team.relay.test/hook/NAME", "absolute-form with another scheme"), ("absolute-capitals", "HTTP://team.relay.test/hook/NAME", "absolute-form in capitals"),
        ("absolute-userinfo", "http://user@team.relay.test/hook/NAME", "absolute-form with userinfo"), ("absolute-port", "http://team.relay.test:80/hook/NAME", "absolute-form with a port"), ("absolute-no-path", "http://team.relay.test", "absolute-form without a path"), ("absolute-ftp", "ftp://team.relay.test/hook/NAME", "absolute-form with another scheme"), ("absolute-no-host", "http:///hook/NAME", "absolute-form without a host"),
        ("scheme-one-slash", "http:/hook/NAME", "half an absolute-form"), ("authority", "team.relay.test:80", "authority-form is for CONNECT"), ("relative", "hook/NAME", "no slash"), ("dot-relative", "./hook/NAME", "no slash"), ("question", "?hook=NAME", "no path"), ("asterisk", "*", "asterisk-form is for OPTIONS"), ("asterisk-slash", "*/NAME", "nothing at all"),
        ("fragment", "/hook/NAME#x", "a fragment is never sent"), ("only-fragment", "#NAME", "a fragment is never sent"), ("blank", "/hook/ NAME", "a blank ends it", (505,)), ("tab", "/hook/\tNAME", "a tab"), ("nul", "/hook/\x00NAME", "NUL"), ("high-byte", "/hook/\xff/NAME", "not ASCII"), ("utf8", "/hook/\xc3\xa4/NAME", "not ASCII"), ("delete", "/hook/\x7f/NAME", "DEL"), ("control", "/hook/\x01/NAME", "a control character"), ("cr", "/hook/\rNAME", "CR"), ("nothing", "", "no target"),
    ]:
        means = ["/hook/NAME", "/", "/hook/%FF/NAME", "/hook/%C3%A4/NAME", "/hook/\\xff/NAME"]
        target(name, why, text, *answers, means=means)
    target("asterisk-options", "asterisk-form asks about the server; there is nothing to say", "*", method="OPTIONS")
    target("connect", "CONNECT is for proxies", "team.relay.test:443", method="CONNECT")
    target("connect-path", "CONNECT with a path", "/hook/NAME", method="CONNECT")
    n = "target-too-long"
    case(f, n, "a path longer than a head may be", request("/hook/" + n + "/" + "a" * 40000, [HOST, "Content-Length: 2"], "{}"), (431,), [], [])


# ---------------------------------------------------------------- hosts


def hosts():
    f = "hosts"

    def host(name, why, hosts, answers=(400,), means=True, version="HTTP/1.1"):
        n = f"host-{name}"
        data = request(f"/hook/{n}", [*hosts, "Content-Length: 2"], "{}", version=version)
        good = answers == (200,)
        case(f, n, why, data + ("" if good else post("second", n)), answers, [hook(n)] if good else [], None if good or not means else [hook(n)])

    for name, value, why in [("capitals", "TEAM.RELAY.TEST", "no letter case"), ("mixed", "Team.Relay.Test", "no letter case"), ("port", "team.relay.test:80", "a port"), ("other-port", "team.relay.test:65535", "whatever port"), ("trailing-dot", "team.relay.test.", "the root's dot"), ("trailing-dot-port", "team.relay.test.:443", "the root's dot and a port"), ("blanks", "  team.relay.test  ", "blanks are no part of it")]:
        host(name, why, [f"Host: {value}"], (200,))
    host("capital-name", "the name has no letter case", ["HOST: team.relay.test"], (200,))
    host("x-forwarded-host", "what others are told is nothing to us", [HOST, "X-Forwarded-Host: evil.example"], (200,))
    host("x-host", "likewise", [HOST, "X-Host: evil.example", "Forwarded: host=evil.example"], (200,))
    for name, lines, why in [
        ("none", [], "no Host"), ("empty", ["Host:"], "an empty Host"), ("blank", ["Host:   "], "a Host of blanks"), ("twice-equal", [HOST, HOST], "two Hosts"), ("twice-differing", [HOST, "Host: evil.example"], "two Hosts"), ("twice-evil-first", ["Host: evil.example", HOST], "two Hosts"), ("twice-letter-case", [HOST, "hOST: evil.example"], "two Hosts"),
        ("twice-empty-first", ["Host:", HOST], "two Hosts"), ("three", [HOST] * 3, "three Hosts"), ("space-before-colon", ["Host : team.relay.test"], "a blank before the colon"), ("folded", ["Host:\r\n team.relay.test"], "a folded Host"), ("fold-after", [HOST + "\r\n evil.example"], "a folded Host"), ("second-by-bare-lf", [HOST + "\nHost: evil.example"], "a second Host after LF alone"), ("second-by-bare-cr", [HOST + "\rHost: evil.example"], "a second Host after CR alone"),
        ("second-with-blank", [HOST, "Host : evil.example"], "a second Host with a blank in its name"), ("second-indented", [HOST, " Host: evil.example"], "a second Host that is a fold"),
    ]:
        host(name, why, lines)
    for name, value, why in [
        ("port-nothing", "team.relay.test:", "a colon and no port"), ("port-zero", "team.relay.test:0", "no port is 0"), ("port-65536", "team.relay.test:65536", "more than a port can be"), ("port-long", "team.relay.test:0000000080", "more digits than a port has"), ("port-sign", "team.relay.test:+80", "a sign"), ("port-minus", "team.relay.test:-80", "a sign"), ("port-word", "team.relay.test:http", "no number"),
        ("port-twice", "team.relay.test:80:80", "two ports"), ("port-blank", "team.relay.test: 80", "a blank"), ("port-at", "team.relay.test:80@evil.example", "userinfo that looks like host and port"), ("port-only", ":80", "no name"), ("userinfo", "user@team.relay.test", "userinfo"), ("userinfo-password", "user:pass@team.relay.test", "userinfo"), ("userinfo-evil", "team.relay.test@evil.example", "userinfo"),
        ("list", "team.relay.test, evil.example", "a list"), ("list-tight", "team.relay.test,evil.example", "a list"), ("two-words", "team.relay.test evil.example", "two names"), ("tab", "team.relay.test\tevil.example", "two names"), ("path", "team.relay.test/hook", "a path"), ("query", "team.relay.test?x", "a query"), ("fragment", "team.relay.test#x", "a fragment"), ("url", "http://team.relay.test", "a URL"), ("backslash", "team.relay.test\\x", "a backslash"),
        ("percent", "team%2erelay.test", "percent signs"), ("percent-nul", "team.relay.test%00", "percent signs"), ("nul", "team.relay.test\x00", "NUL"), ("quoted", '"team.relay.test"', "quotes"), ("brackets", "[team.relay.test]", "a name in brackets"), ("asterisk", "*.relay.test", "an asterisk"), ("dots", "team..relay.test", "an empty label"), ("leading-dot", ".relay.test", "an empty label"), ("only-dot", ".", "nothing but a dot"), ("two-trailing-dots", "team.relay.test..", "an empty label"),
        ("label-64", "a" * 64 + ".relay.test", "a label longer than labels are"), ("name-300", ".".join(["a"] * 150) + ".relay.test", "a name longer than names are"), ("non-ascii", "t\xc3\xa9am.relay.test", "not ASCII"), ("v6-no-brackets", "::1", "an address of version 6 without brackets"), ("v6-open", "[::1", "an open bracket"), ("v6-zone", "[::1%25lo]", "a zone"), ("v6-junk", "[zz::1]", "no address"), ("v6-after", "[::1]x", "something after it"), ("v6-empty", "[]", "nothing in the brackets"), ("v6-future", "[v1.x]", "an address of a future version"), ("v4-five", "1.2.3.4.5", "five numbers"), ("v4-three", "127.0.1", "three numbers"), ("v4-decimal", "2130706433", "an address as one number"), ("v4-big", "256.256.256.256", "no address"), ("semicolon", "team.relay.test;x", "a semicolon"), ("dollar", "$host", "what a proxy forgot to fill in"), ("underscore-braces", "${host}", "likewise"), ("control", "team.relay.test\x01", "a control character"), ("bare-cr", "team.relay.test\r", "CR CR LF"),
    ]:
        host(name, why, [f"Host: {value}"])
    for name, value, why in [("evil", "evil.example", "somebody else"), ("evil-suffix", "relay.test.evil.example", "our name within another's"), ("evil-prefix", "evilrelay.test", "another's name that ends as ours"), ("parent", "test", "the domain above ours"), ("other-address", "192.0.2.1", "an address that is not ours"), ("other-v6", "[2001:db8::1]", "an address that is not ours"), ("v6-loopback", "[::1]", "loopback where we do not listen"), ("v4-octal-like", "0177.0.0.1.x", "a name that looks like an address"), ("v4-hex", "0x7f000001", "a name that looks like an address"), ("metadata", "169.254.169.254", "an address of clouds' own"), ("single-label", "team", "a tunnel's name alone")]:
        host(name, why, [f"Host: {value}"], (421,), means=False)
    for name, value, why in [("other-tunnel", "absent.relay.test", "a tunnel that does not exist"), ("two-labels", "x.team.relay.test", "two labels below the domain"), ("underscore", "te_am.relay.test", "no tunnel has such a name"), ("dash-first", "-team.relay.test", "no tunnel has such a name"), ("apex", "relay.test", "the relay itself has no such page"), ("address", "127.0.0.1", "likewise by address"), ("localhost", "localhost", "likewise on loopback"), ("address-port", "127.0.0.1:8080", "likewise with a port")]:
        n = f"host-{name}"
        # A 404 leaves the connection open, so what follows is a request of its own.
        case(f, n, why, request(f"/hook/{n}", [f"Host: {value}", "Content-Length: 2"], "{}") + post("second", n), (404, 200), [second(n)])
    host("none-http10", "HTTP/1.0 may have none; here it needs one", [], version="HTTP/1.0")
    for name, value in [("apex-path", "relay.test"), ("address-path", "127.0.0.1"), ("localhost-path", "localhost:1")]:
        n = f"host-{name}"
        target = f"/t/team/hook/{n}"
        case(f, n, "a tunnel by path", request(target, [f"Host: {value}", "Content-Length: 2"], "{}"), (200,), [(target, "{}")])
    n = "host-evil-path"
    case(f, n, "a tunnel by path of somebody else", request(f"/t/team/hook/{n}", ["Host: evil.example", "Content-Length: 2"], "{}"), (421,))


# ---------------------------------------------------------------- methods and versions


def starts():
    f = "starts"

    def line(name, why, start, answers=(400,), delivers=None, means=True):
        n = f"start-{name}"
        data = start.replace("NAME", n) + f"\r\n{HOST}\r\nContent-Length: 2\r\n\r\n{{}}"
        good = answers == (200,)
        case(f, n, why, data + ("" if good else post("second", n)), answers, [hook(n)] if good else [], None if good or not means else [hook(n)])

    for name, start, why, *answers in [
        ("tab-separated", "POST\t/hook/NAME\tHTTP/1.1", "tabs"), ("two-blanks", "POST  /hook/NAME HTTP/1.1", "two blanks"), ("two-blanks-after", "POST /hook/NAME  HTTP/1.1", "two blanks", (505,)), ("blank-at-end", "POST /hook/NAME HTTP/1.1 ", "a blank at the end"), ("tab-at-end", "POST /hook/NAME HTTP/1.1\t", "a tab at the end"), ("word-at-end", "POST /hook/NAME HTTP/1.1 x", "a word at the end"),
        ("no-blank", "POST/hook/NAME HTTP/1.1", "no blank"), ("vertical-tab", "POST\x0b/hook/NAME HTTP/1.1", "0x0B"), ("form-feed", "POST /hook/NAME\x0cHTTP/1.1", "0x0C"), ("nul-in-method", "PO\x00ST /hook/NAME HTTP/1.1", "NUL"), ("high-byte-in-method", "P\xd6ST /hook/NAME HTTP/1.1", "not ASCII"), ("paren-in-method", "POST() /hook/NAME HTTP/1.1", "no method character"), ("colon-in-method", "POST: /hook/NAME HTTP/1.1", "no method character"),
        ("quoted-method", '"POST" /hook/NAME HTTP/1.1', "no method character"), ("method-65", "P" * 65 + " /hook/NAME HTTP/1.1", "longer than methods are"), ("bom", "\xef\xbb\xbfPOST /hook/NAME HTTP/1.1", "a byte order mark"), ("only-method", "POST", "no target, no version"), ("reversed", "HTTP/1.1 /hook/NAME POST", "the wrong way round"), ("answer", "HTTP/1.1 200 OK", "an answer in place of a request"), ("header-first", "X-A: b", "no request line"), ("cr-in-line", "POST /hook/NAME\rHTTP/1.1", "CR alone"),
    ]:
        line(name, why, start, *answers)
    for name, version, why in [("1-2", "HTTP/1.2", "no such version"), ("1-9", "HTTP/1.9", "no such version"), ("2-0", "HTTP/2.0", "HTTP/2 has no lines"), ("3-0", "HTTP/3.0", "nor has HTTP/3"), ("0-9", "HTTP/0.9", "no such line in HTTP/0.9"), ("1-10", "HTTP/1.10", "one digit"), ("01-1", "HTTP/01.1", "one digit"), ("1", "HTTP/1", "no minor version"), ("11", "HTTP/11", "no dot"), ("small", "http/1.1", "in capitals only"), ("mixed", "HtTP/1.1", "in capitals only"), ("https", "HTTPS/1.1", "another name"), ("rtsp", "RTSP/1.0", "another protocol"), ("sip", "SIP/2.0", "another protocol"), ("icy", "ICY/1.0", "another protocol"), ("comma", "HTTP/1,1", "no dot"), ("blank", "HTTP/ 1.1", "a blank"), ("minus", "HTTP/-1.1", "a sign"), ("plus", "HTTP/+1.1", "a sign"), ("nul", "HTTP/1.1\x00", "NUL"), ("after", "HTTP/1.1x", "something after it"), ("fullwidth", "HTTP/\xef\xbc\x91.1", "a digit of Unicode"), ("no-slash", "HTTP 1.1", "no slash"), ("big", "HTTP/99999999999.1", "a large number")]:
        line(f"version-{name}", why, f"POST /hook/NAME {version}", (400,) if name in ("1-10", "nul", "after") else (505,))
    n = "start-http10"
    case(f, n, "HTTP/1.0 is taken", request(f"/hook/{n}", [HOST, "Content-Length: 2"], "{}", version="HTTP/1.0"), (200,), [hook(n)])
    n = "start-http09"
    case(f, n, "HTTP/0.9 is not", f"GET /hook/{n}\r\n", (400,), [])
    n = "start-http09-then-request"
    case(f, n, "HTTP/0.9 is not", f"GET /hook/{n}\r\n" + post("second", n), (400,), [])
    for method, status in METHODS:
        n = f"start-method-{method.lower()}" + ("" if method.isupper() else "-as-" + "small" if method.islower() else "-mixed")
        data = request(f"/hook/{n}", [HOST, "Content-Length: 2"], "{}", method=method)
        case(f, n, "what tunnels answer is POST", data, (status,), [hook(n)] if status == 200 else [], [] if status != 200 else None)
    n = "start-preface-h2"
    case(f, n, "HTTP/2 without TLS is not spoken", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00", (505,), [])
    n = "start-tls-hello"
    hello = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(range(32)) + b"\x00" * 40
    case(f, n, "TLS at the door of plain HTTP", hello, (400,), [])
    n = "start-sslv2-hello"
    case(f, n, "SSL 2 at the door of plain HTTP", b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + bytes(range(40)), (400,), [])
    n = "start-proxy-v1"
    case(f, n, "the PROXY protocol of a stranger", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + post("second", n), (505,), [])
    n = "start-proxy-v2"
    case(f, n, "the PROXY protocol of a stranger", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02" + post("second", n).encode(), (400,), [])
    for name, data in {"ssh": "SSH-2.0-OpenSSH_9.2\r\n", "smtp": "EHLO relay.test\r\n", "redis": "*1\r\n$4\r\nPING\r\n", "binary": "\xff\xfe\xfd\xfc", "nuls": "\x00" * 64, "gopher": "/hook\r\n", "socks": "\x05\x01\x00", "memcached": "get a\r\n", "mqtt": "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"}.items():
        n = f"start-{name}"
        case(f, n, "another protocol", data, (400,), [])


METHODS = [("GET", 200), ("HEAD", 200), ("PUT", 200), ("DELETE", 200), ("PATCH", 200), ("OPTIONS", 200), ("TRACE", 200), ("TRACK", 200), ("PROPFIND", 200), ("M-SEARCH", 200), ("post", 200), ("Post", 200), ("POSTX", 200), ("X", 200)]


# ---------------------------------------------------------------- several requests


def several():
    f = "several"
    n = "two"
    case(f, n, "two requests are two", post("hook", n) + post("second", n), (200, 200), [hook(n), second(n)])
    n = "ten"
    case(f, n, "ten are ten, in order", "".join(post("hook", f"{n}-{i}") for i in range(10)), [200] * 10, [hook(f"{n}-{i}") for i in range(10)])
    n = "second-refused"
    case(f, n, "the second is refused, the first stands", post("hook", n) + request(f"/hook/{n}-x", [HOST, HOST]) + post("second", n), (200, 400), [hook(n)], [hook(n), hook(f"{n}-x", "")])
    n = "first-refused"
    case(f, n, "after a refusal nothing is read", request(f"/hook/{n}", [HOST, HOST, "Content-Length: 0"]) + post("second", n), (400,), [], [hook(n, "")])
    n = "close-then-request"
    case(f, n, "after Connection: close nothing is read", request(f"/hook/{n}", [HOST, "Content-Length: 2", "Connection: close"], "{}") + post("second", n), (200,), [hook(n)])
    n = "close-in-list"
    case(f, n, "close within a list", request(f"/hook/{n}", [HOST, "Content-Length: 2", "Connection: keep-alive, CLOSE"], "{}") + post("second", n), (200,), [hook(n)])
    n = "close-in-second-line"
    case(f, n, "close in a second line", request(f"/hook/{n}", [HOST, "Content-Length: 2", "Connection: keep-alive", "Connection: close"], "{}") + post("second", n), (200,), [hook(n)])
    n = "http10-then-request"
    case(f, n, "HTTP/1.0 closes unless it asks otherwise", request(f"/hook/{n}", [HOST, "Content-Length: 2"], "{}", version="HTTP/1.0") + post("second", n), (200,), [hook(n)])
    n = "http10-keep-alive"
    case(f, n, "HTTP/1.0 may ask otherwise", request(f"/hook/{n}", [HOST, "Content-Length: 2", "Connection: keep-alive"], "{}", version="HTTP/1.0") + post("second", n), (200, 200), [hook(n), second(n)])
    n = "unknown-then-request"
    case(f, n, "after 404 the next is served", request("/x", ["Host: absent.relay.test", "Content-Length: 2"], "{}") + post("second", n), (404, 200), [second(n)])
    n = "health-then-request"
    case(f, n, "after a page of ours the next is served", request("/healthz", ["Host: relay.test"], method="GET") + post("second", n), (200, 200), [second(n)])
    for name, header in {"content-length": "Connection: Content-Length", "host": "Connection: Host", "transfer-encoding": "Connection: close, Transfer-Encoding", "nonsense": "Connection: ,,,;;;", "empty": "Connection:", "te": "Connection: TE\r\nTE: trailers", "keep-alive": "Keep-Alive: timeout=0, max=0", "proxy-connection": "Proxy-Connection: close"}.items():
        n = f"connection-{name}"
        case(f, n, "what Connection names changes no framing", request(f"/hook/{n}", [HOST, header, "Content-Length: 2"], "{}"), (200,), [hook(n)])
    for name, value, status in [("100", "100-continue", 200), ("capitals", "100-Continue", 200), ("unknown", "cake", 200), ("two", "100-continue\r\nExpect: 100-continue", 200), ("list", "100-continue, cake", 200), ("empty", "", 200)]:
        n = f"expect-{name}"
        case(f, n, "the body comes without being waited for", request(f"/hook/{n}", [HOST, f"Expect: {value}".rstrip(), "Content-Length: 2"], "{}"), (status,), [hook(n)])
    n = "expect-then-request"
    case(f, n, "what follows the body is a request", request(f"/hook/{n}", [HOST, "Expect: 100-continue", "Content-Length: 2"], "{}") + post("second", n), (200, 200), [hook(n), second(n)])
    n = "expect-refused"
    inner = post("smuggled", n)
    case(f, n, "refused before its body came: the body is no request", request("/x", ["Host: absent.relay.test", "Expect: 100-continue", f"Content-Length: {len(inner)}"], inner), (404,), [])
    n = "expect-chunked"
    case(f, n, "with chunks", request(f"/hook/{n}", [HOST, "Expect: 100-continue", "Transfer-Encoding: chunked"], "2\r\n{}\r\n0\r\n\r\n"), (200,), [hook(n)])
    for name, lines in {"h2c": ["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"], "tls": ["Upgrade: TLS/1.0", "Connection: Upgrade"], "unknown": ["Upgrade: cake/2", "Connection: Upgrade"], "websocket-post": ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="], "no-connection": ["Upgrade: websocket"], "two": ["Upgrade: h2c", "Upgrade: websocket", "Connection: Upgrade"]}.items():
        n = f"upgrade-{name}"
        case(f, n, "nothing is upgraded at a tunnel, and what follows is a request", request(f"/hook/{n}", [HOST, *lines, "Content-Length: 2"], "{}") + post("second", n), (200, 200), [hook(n), second(n)])
    n = "upgrade-h2c-preface"
    case(f, n, "no HTTP/2 begins after it", request(f"/hook/{n}", [HOST, "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk", "Content-Length: 2"], "{}") + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (200, 505), [hook(n)])
    ws = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    n = "upgrade-refused-then-request"
    case(f, n, "an upgrade that is not granted ends the connection: a proxy that thinks it is a tunnel now cannot be used to pass requests by it", request("/agent/v1", ["Host: relay.test", *ws], method="GET") + post("smuggled", n), (401,), [])
    n = "upgrade-refused-version"
    case(f, n, "likewise with a version that is not spoken", request("/agent/v1", ["Host: relay.test", *ws[:2], "Sec-WebSocket-Version: 777", ws[3]], method="GET") + post("smuggled", n), (401,), [])
    n = "upgrade-with-length"
    inner = post("smuggled", n)
    case(f, n, "an upgrade with a body is none", request("/agent/v1", ["Host: relay.test", *ws, f"Content-Length: {len(inner)}"], inner, method="GET"), (401,), [])
    n = "upgrade-with-chunks"
    case(f, n, "an upgrade with a body is none", request("/agent/v1", ["Host: relay.test", *ws, "Transfer-Encoding: chunked"], "0\r\n\r\n" + post("smuggled", n), method="GET"), (401,), [])
    n = "upgrade-on-health"
    case(f, n, "an upgrade of a page ends the connection", request("/healthz", ["Host: relay.test", *ws], method="GET") + post("smuggled", n), (200,), [])
    n = "head-with-body"
    inner = post("smuggled", n)
    case(f, n, "HEAD with a body: the body is no request", request("/healthz", ["Host: relay.test", f"Content-Length: {len(inner)}"], inner, method="HEAD"), (200,), [])
    n = "garbage-after"
    case(f, n, "what follows is nonsense", post("hook", n) + "\x00\x01\x02\x03", (200, 400), [hook(n)])
    n = "half-a-second"
    case(f, n, "the second breaks off", post("hook", n) + "POST /second/x HTTP/1.1\r\nHost: te", (200,), [hook(n)])
    n = "trailing-crlf"
    case(f, n, "an empty line after a body", post("hook", n) + "\r\n", (200,), [hook(n)])
    n = "answer-as-request"
    case(f, n, "an answer after a request", post("hook", n) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (200, 400), [hook(n)])


def main():
    for family in (lengths, codings, chunks, lines, targets, hosts, starts, several):
        family()
    note = "# Written by generate.py, which says what it means.\n\n"
    texts = {f"{name}.toml": note + "\n".join(cases) for name, cases in FAMILIES.items()}
    if "--check" in sys.argv:
        bad = [n for n, text in texts.items() if open(os.path.join(HERE, n), newline="").read() != text]
        sys.exit(f"these are not what generate.py writes: {', '.join(bad)}" if bad else 0)
    for name, text in texts.items():
        with open(os.path.join(HERE, name), "w", newline="") as out:
            out.write(text)
    print(f"{len(NAMES)} cases")


main()
