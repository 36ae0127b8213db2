#!/usr/bin/env python3
"""All four attacks of slowhttptest (Debian's package) at a relay, while real deliveries pass from another address: their answers, and their p50 and p99
beside those of a quiet time.

    relay-server/tests/hardening/slow_attacks.py target/release/healthie-relay [CONNECTIONS] [SECONDS] [FLAG…]

Flags go to `serve`: all attack from one address, which gets 256 connections unless `--max-connections-per-address` says otherwise.
"""

import json
import http.client
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

ATTACKS = {
    "slow heads (-H)": ["-H", "-u", "http://{at}/healthz", "-i", "10", "-x", "24"],
    "slow bodies (-B)": ["-B", "-u", "http://{at}/t/team/hook", "-i", "10", "-s", "8192", "-x", "10"],
    "slow readers (-X)": ["-X", "-u", "http://{at}/", "-w", "1", "-y", "2", "-n", "5", "-z", "1", "-k", "3"],
    "ranges (-R)": ["-R", "-u", "http://{at}/", "-a", "1", "-b", "3000"],
}
RATE = 50


def run(relay, *args):
    return subprocess.run([relay, *args], check=True, capture_output=True, text=True).stdout


class Sender(threading.Thread):
    """Deliveries at a steady rate, each over a connection of its own."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.times, self.answers, self.over = port, [], {}, threading.Event()

    def run(self):
        due = time.monotonic()
        while not self.over.is_set():
            begun = time.monotonic()
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10, source_address=("127.0.0.2", 0))
                connection.request("POST", "/t/team/hook", body=b'{"resource_id": 1}', headers={"Content-Type": "application/json"})
                status = connection.getresponse().status
                connection.close()
            except OSError as e:
                status = type(e).__name__
            self.times.append((time.monotonic() - begun) * 1000)
            self.answers[status] = self.answers.get(status, 0) + 1
            due += 1 / RATE
            time.sleep(max(0, due - time.monotonic()))

    def done(self):
        self.over.set()
        self.join()
        times = sorted(self.times)
        at = lambda share: times[min(len(times) - 1, int(len(times) * share))]
        return f"{self.answers} p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, longest {times[-1]:.1f} ms"


def main():
    relay = os.path.abspath(sys.argv[1])
    connections = sys.argv[2] if len(sys.argv) > 2 else "1000"
    seconds = sys.argv[3] if len(sys.argv) > 3 else "30"
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "data")
        run(relay, "tunnel", "add", "team", "--data", data)
        server = subprocess.Popen([relay, "serve", "--http", "127.0.0.1:0", "--data", data, *sys.argv[4:]], stderr=subprocess.DEVNULL)
        try:
            addresses = os.path.join(data, "addresses.json")
            until = time.monotonic() + 30
            while not os.path.exists(addresses):
                assert server.poll() is None and time.monotonic() < until, "the relay does not start"
                time.sleep(0.02)
            at = json.load(open(addresses))["http"]
            port = int(at.rsplit(":", 1)[1])
            sender = Sender(port)
            sender.start()
            time.sleep(float(seconds))
            print(f"quiet: {sender.done()}", flush=True)
            for name, arguments in ATTACKS.items():
                sender = Sender(port)
                sender.start()
                command = ["slowhttptest", *(a.format(at=at) for a in arguments), "-c", connections, "-r", "500", "-l", seconds, "-p", "3"]
                attack = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=float(seconds) * 4 + 60)
                said = re.sub(r"\x1b\[[0-9;]*m", "", attack.stdout)
                held = [int(n) for n in re.findall(r"connected:\s+(\d+)", said)]
                served = re.findall(r"service available:\s+(\w+)", said)
                rss = re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{server.pid}/status").read()).group(1)
                print(f"{name}: at most {max(held, default=0)} connections held, served a probe {served.count('YES')} of {len(served)} times, "
                      f"relay {int(rss) // 1024} MB; deliveries: {sender.done()}", flush=True)
                assert server.poll() is None, "the relay ended"
        finally:
            server.terminate()
            server.wait()


main()
