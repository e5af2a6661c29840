#!/usr/bin/env python3
"""Runs the sequences of sequences.py through ipvsadm and real IPVS, and writes down what it printed: listings.json.

Needs what record.py does, and has the same namespaces as it, afresh for each sequence.

usage: listings.py [--only NAME] [--to FILE]
"""

import argparse
import json
import os
import platform
import shlex
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import record
import sequences

VIRTUALS = ["10.64.4.1", "10.64.4.2"]
FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "listings.json")
# Statistics are gathered every two seconds.
GATHERED = 2.5


def place(text):
    address, _, port = text.rpartition(":")
    return address, int(port)


class Sequence:
    def __init__(self):
        self.namespaces = record.Namespaces()
        record.connect(self.namespaces, [{"virtuals": VIRTUALS}])
        self.namespaces.enter("servers")
        self.listener = socket.create_server(("0.0.0.0", 8080), backlog=64)
        self.answering = {}
        for address in record.known.SERVERS.values():
            answering = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            answering.bind((address, 5353))
            answering.setblocking(False)
            self.answering[address] = answering
        self.held = []

    def run(self, step):
        if isinstance(step, str):
            return self.ipvsadm(step, None)
        if "restore" in step:
            return dict(self.ipvsadm("-R", step["restore"]), **step)
        self.namespaces.enter("client")
        if "open" in step:
            client = socket.socket()
            client.bind(place(step["open"]))
            client.settimeout(record.LIMIT)
            client.connect(place(step["to"]))
            server, peer = self.listener.accept()
            assert peer == place(step["open"]), peer
            server.settimeout(record.LIMIT)
            for one, other in (server, client), (client, server):
                one.sendall(b"!")
                assert other.recv(1) == b"!"
            self.held.append((client, server))
        elif "ask" in step:
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.bind(place(step["ask"]))
            client.connect(place(step["to"]))
            client.settimeout(record.LIMIT)
            for _ in range(step["count"]):
                client.send(bytes(100))
                self.answer()
                assert len(client.recv(1000)) == 50
            client.close()
        else:
            (how, count), = step.items()
            for _ in range(count):
                self.end(how)
        return step

    def answer(self):
        end = time.monotonic() + record.LIMIT
        while time.monotonic() < end:
            for answering in self.answering.values():
                try:
                    _, peer = answering.recvfrom(1000)
                    answering.sendto(bytes(50), peer)
                    return
                except BlockingIOError:
                    pass
            time.sleep(0.001)
        sys.exit("no server was asked")

    def end(self, how):
        client, server = self.held.pop(0)
        if how == "close":
            client.shutdown(socket.SHUT_WR)
            assert server.recv(1) == b""
            server.close()
            assert client.recv(1) == b""
            client.close()
            return
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, record.ABORT)
        client.close()
        try:
            server.recv(1)
            sys.exit("a reset is not seen")
        except ConnectionResetError:
            server.close()

    def ipvsadm(self, arguments, text):
        if "--stats" in arguments:
            time.sleep(GATHERED)
        self.namespaces.enter("director")
        done = subprocess.run(
            ["ipvsadm"] + shlex.split(arguments), input=text or "", capture_output=True, text=True, timeout=60
        )
        return {"ipvsadm": arguments, "code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only", help="this sequence, beside the others that the file has")
    parser.add_argument("--to", default=FILE, help="the file to write")
    arguments = parser.parse_args()
    for module in ["ip_vs"] + ["ip_vs_" + name for name in "rr wrr lc wlc sh dh lblc lblcr sed nq mh fo ovf".split()]:
        subprocess.run(["modprobe", "-q", module])
    known = {}
    if arguments.only:
        with open(arguments.to) as file:
            known = {one["name"]: one["steps"] for one in json.load(file)["sequences"]}
    recorded = []
    for name, steps in sequences.sequences():
        if arguments.only not in (None, name):
            recorded.append((name, known[name]))
            continue
        start = time.monotonic()
        sequence = Sequence()
        recorded.append((name, [sequence.run(step) for step in steps]))
        print("%s: %d steps, %.1f s" % (name, len(steps), time.monotonic() - start), flush=True)
    heading = {
        "kernel": " ".join([platform.release(), platform.version()]),
        "ipvsadm": record.run("ipvsadm --version").split()[1].lstrip("v"),
    }
    text = json.dumps(heading)[:-1] + ', "sequences": [\n'
    for number, (name, steps) in enumerate(recorded):
        lines = ",\n".join("  " + json.dumps(step) for step in steps)
        text += '%s{"name": %s, "steps": [\n%s\n ]}' % (",\n" if number else "", json.dumps(name), lines)
    with open(arguments.to, "w") as file:
        file.write(text + "\n]}\n")


if __name__ == "__main__":
    main()
