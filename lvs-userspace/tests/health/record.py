#!/usr/bin/env python3
"""Runs keepalived on real IPVS through scripted failures and writes down what it did: keepalived.json.

Needs root, a kernel with ip_vs, and keepalived; a throw-away machine, for it empties the kernel's table. The services of
SERVICES are checked by files (FILE_CHECK), which keepalived notices at once, and some by TCP. Each step sets one file, or
opens or closes one port, and records:

  fifo   the lines that lvs_notify_fifo got, in their order
  pool   /proc/net/ip_vs in the order of insertion: [server, weight]

usage: record.py FOLDER
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

QUIET = 0.7
# Servers are 127.1.SERVICE.1, .2, ...; the sorry server is 127.1.SERVICE.100.
SERVICES = [
    dict(name="quorum and sorry server", quorum=3, hysteresis=1, sorry="plain", weights=[1, 2, 3]),
    dict(name="quorum alone", quorum=2, hysteresis=0, sorry=None, weights=[1, 1, 1]),
    dict(name="inhibited servers", quorum=2, hysteresis=1, sorry="plain", inhibit=True, weights=[1, 2, 1]),
    dict(name="inhibited sorry server", quorum=2, hysteresis=0, sorry="inhibit", weights=[1, 1, 1]),
    dict(name="both inhibited", quorum=1, hysteresis=0, sorry="inhibit", inhibit=True, weights=[2, 3]),
    dict(name="weights from files", quorum=6, hysteresis=2, sorry="plain", weights=[3, 4, 5], factor=2),
    dict(name="sorry server is a server", quorum=2, hysteresis=0, sorry="first", weights=[1, 1, 1]),
    dict(name="the same, inhibited", quorum=2, hysteresis=0, sorry="first", inhibit=True, weights=[1, 1, 1]),
    dict(name="omega", quorum=2, hysteresis=0, sorry="plain", omega=True, weights=[1, 1, 1]),
    dict(name="alpha", quorum=1, hysteresis=0, sorry="plain", weights=[1, 1], tcp=True, alpha=True),
    dict(name="no alpha", quorum=1, hysteresis=0, sorry="plain", weights=[1, 1], tcp=True, alpha=False),
    dict(name="two checks each", quorum=3, hysteresis=1, sorry="plain", weights=[1, 2, 2], checks=2),
    dict(name="two checks with weights, inhibited", quorum=5, hysteresis=1, sorry="plain", inhibit=True, weights=[3, 4], factor=2, checks=2),
]


def track_file(number, server, check):
    return "f%d_%d" % (number, server) + ("_%d" % check if check > 1 else "")


def checks(service):
    return range(1, service.get("checks", 1) + 1)


def configuration(folder):
    lines = ["global_defs {", "  lvs_notify_fifo %s/fifo" % folder, "  script_user root", "}"]
    for number, service in enumerate(SERVICES, 1):
        if not service.get("tcp"):
            for server in range(1, len(service["weights"]) + 1):
                for check in checks(service):
                    name = track_file(number, server, check)
                    lines += ["track_file %s {" % name, "  file %s/%s" % (folder, name), "  weight 0", "}"]
    for number, service in enumerate(SERVICES, 1):
        lines += ["virtual_server 10.99.0.%d 80 {" % number, "  lvs_sched rr", "  lvs_method NAT", "  protocol TCP"]
        lines += ["  delay_loop 1", "  quorum %d" % service["quorum"], "  hysteresis %d" % service["hysteresis"]]
        lines += [word for word in ["inhibit_on_failure", "omega", "alpha"] if service.get(word.split("_")[0])]
        if service["sorry"]:
            lines += ["  sorry_server 127.1.%d.%d 80" % (number, 1 if service["sorry"] == "first" else 100)]
            lines += ["  sorry_server_inhibit"] if service["sorry"] == "inhibit" else []
        for server, weight in enumerate(service["weights"], 1):
            lines += ["  real_server 127.1.%d.%d 80 {" % (number, server), "    weight %d" % weight]
            if service.get("tcp"):
                lines += ["    TCP_CHECK {", "      connect_timeout 1", "      warmup 0", "      retry 1", "      delay_before_retry 0.5", "    }"]
            else:
                for check in checks(service):
                    lines += ["    FILE_CHECK {", "      track_file " + track_file(number, server, check),
                              "      weight %d" % service.get("factor", 0), "    }"]
            lines += ["  }"]
        lines += ["}"]
    return "\n".join(lines) + "\n"


def steps():
    """[service, server, check, value]: the value of a file, or whether a port is open."""
    chance = random.Random(20261128)
    found = []
    for number, service in enumerate(SERVICES, 1):
        count = len(service["weights"])
        values = {(server, 1): 1 if service.get("tcp") and server == 0 else 0 for server in range(count)}
        for _ in range(9 if service.get("tcp") else 24):
            server = chance.randrange(count)
            check = chance.choice(checks(service)) if "checks" in service else 1
            old = values.get((server, check), 0)
            if service.get("factor"):
                value = chance.choice([-3, -2, -1, 0, 1, 2, -1500000000])
                if value == old:
                    continue
            else:
                value = 0 if old else 1
            values[server, check] = value
            found.append([number, server + 1, check, value])
    return found


class Ports:
    def __init__(self):
        self.open = {}

    def set(self, number, server, wanted):
        key = (number, server)
        if wanted and key not in self.open:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.1.%d.%d" % key, 80))
            listener.listen(64)
            listener.setblocking(False)
            self.open[key] = listener
        elif not wanted and key in self.open:
            self.open.pop(key).close()

    def accept(self):
        """Without that the queues of checks would be full some time."""
        for listener in self.open.values():
            try:
                while True:
                    listener.accept()[0].close()
            except BlockingIOError:
                pass


def pool(number):
    wanted, found, here = "0A6300%02X:0050" % number, [], False
    for line in open("/proc/net/ip_vs"):
        words = line.split()
        if words[0] in ("TCP", "UDP", "FWM"):
            here = words[1] == wanted
        elif here and words[0] == "->" and words[1] != "RemoteAddress:Port":
            address = words[1].split(":")[0]
            found.append([".".join(str(int(address[at:at + 2], 16)) for at in (0, 2, 4, 6)), int(words[3])])
    return found[::-1]


def told(fifo, ports, quiet):
    text, last = b"", time.monotonic()
    while time.monotonic() - last < quiet:
        try:
            more = os.read(fifo, 65536)
        except BlockingIOError:
            more = b""
        if more:
            text, last = text + more, time.monotonic()
        ports.accept()
        time.sleep(0.02)
    return text.decode().splitlines()


def main():
    folder = sys.argv[1]
    work = "/tmp/health-record"
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    subprocess.run(["modprobe", "ip_vs"], check=False)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ipvsadm", "-C"], check=True)
    with open(work + "/keepalived.conf", "w") as file:
        file.write(configuration(work))
    ports = Ports()
    for number, service in enumerate(SERVICES, 1):
        for server in range(1, len(service["weights"]) + 1):
            if service.get("tcp"):
                ports.set(number, server, server == 1)
            else:
                for check in checks(service):
                    with open("%s/%s" % (work, track_file(number, server, check)), "w") as file:
                        file.write("0")
    os.mkfifo(work + "/fifo")
    fifo = os.open(work + "/fifo", os.O_RDWR | os.O_NONBLOCK)
    log = open(os.path.join(folder, "keepalived.log"), "w")
    process = subprocess.Popen(["keepalived", "-C", "-n", "-l", "-G", "-D", "-f", work + "/keepalived.conf",
                                "-p", work + "/p", "-c", work + "/c"], stdout=log, stderr=log)
    start = told(fifo, ports, 6)
    result = dict(version=subprocess.run(["keepalived", "--version"], capture_output=True, text=True).stderr.split("\n")[0],
                  kernel=os.uname().release, services=SERVICES,
                  start=dict(fifo=start, pools=[pool(number) for number in range(1, len(SERVICES) + 1)]), steps=[])
    for number, server, check, value in steps():
        tcp = SERVICES[number - 1].get("tcp")
        if tcp:
            ports.set(number, server, value)
        else:
            path = "%s/%s" % (work, track_file(number, server, check))
            with open(path + ".new", "w") as file:
                file.write(str(value))
            os.rename(path + ".new", path)
        lines = told(fifo, ports, 4 if tcp else QUIET)
        result["steps"].append(dict(service=number, server=server, check=check, value=value, fifo=lines, pool=pool(number)))
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    result["stop"] = told(fifo, ports, 2)
    with open(os.path.join(folder, "keepalived.json"), "w") as file:
        # One step a line: a changed recording can be read.
        steps_ = result.pop("steps")
        text = json.dumps(result, indent=1)[:-2] + ',\n "steps": [\n' + ",\n".join("  " + json.dumps(step) for step in steps_) + "\n ]\n}\n"
        file.write(text)


main()
