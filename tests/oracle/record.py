#!/usr/bin/env python3
"""Runs the scenarios of scenarios.py through real IPVS and writes down what it did: recorded/GROUP.json.

Needs root, a kernel with ip_vs and its schedulers, ipvsadm, ip and iptables, and Python's own library. Everything
happens in three network namespaces, which go with the process:

  client                            director                            servers
  172.16.0-5.10-57, 10.64.1.1 ───── 10.64.1.254    192.168.1.1 ─────── 192.168.1.11-18
                                    10.64.4.1-20, 10.64.5.n

It is one process that holds both ends of each connection, so nothing has to be waited for but the kernel: after a
connection was opened, each end has had a byte of the other; after it was closed or reset, each end has seen that.

usage: record.py [--only TEXT] [--to FOLDER]
"""

import argparse
import ctypes
import errno
import json
import os
import platform
import resource
import socket
import struct
import subprocess
import sys
import time

# Nothing is left in the folder but recordings.
sys.dont_write_bytecode = True

import scenarios as known

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recorded")
CLONE_NEWNET = 0x40000000
# A SYN is sent again after a second; by then a server should have answered.
SILENCE = 0.9
# What only a bug or a dead machine exceeds.
LIMIT = 10
# Connections that were reset go after 10 s, by a timer that may be an eighth late.
EXPIRED = 20
ABORT = struct.pack("ii", 1, 0)

LIBC = ctypes.CDLL(None, use_errno=True)


class Namespaces:
    """Three namespaces, of which this process is in one at a time."""

    def __init__(self):
        self.files = {}
        for name in ["client", "director", "servers"]:
            if LIBC.unshare(CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            self.files[name] = os.open("/proc/self/ns/net", os.O_RDONLY)
            run("ip link set lo up")

    def enter(self, name):
        if LIBC.setns(self.files[name], CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def path(self, name):
        return "/proc/%d/fd/%d" % (os.getpid(), self.files[name])


def run(command, text=None):
    """A command in the namespace that this process is in."""
    done = subprocess.run(command.split(), input=text, capture_output=True, text=True)
    if done.returncode or done.stderr:
        sys.exit("`%s` failed: %s%s" % (command, done.stderr, text or ""))
    return done.stdout


def ip(lines):
    run("ip -batch -", "".join(line + "\n" for line in lines))


def write(path, value):
    with open(path, "w") as file:
        file.write(value)


def connect(namespaces, all_scenarios):
    """Wires the namespaces, and gives everybody their addresses."""
    virtuals = sorted({address for one in all_scenarios for address in one["virtuals"]})
    # How fast errors may be sent is the first namespace's, whichever that is here.
    if os.path.exists("/proc/sys/net/ipv4/icmp_msgs_per_sec"):
        write("/proc/sys/net/ipv4/icmp_msgs_per_sec", "1000000")
        write("/proc/sys/net/ipv4/icmp_msgs_burst", "1000000")
    namespaces.enter("director")
    ip([
        "link add clients type veth peer name director netns " + namespaces.path("client"),
        "link add servers type veth peer name director netns " + namespaces.path("servers"),
        "link set clients up", "link set servers up",
        "address add 10.64.1.254/24 dev clients", "address add 192.168.1.1/24 dev servers",
    ] + ["address add %s/32 dev clients" % address for address in virtuals])
    write("/proc/sys/net/ipv4/ip_forward", "1")
    # A refused client is told at once, however many there are.
    write("/proc/sys/net/ipv4/icmp_ratelimit", "0")
    namespaces.enter("client")
    ip(["link set director up", "address add 10.64.1.1/24 dev director", "route add default via 10.64.1.254"]
       + ["address add %s/32 dev director" % address for address in known.CLIENTS])
    namespaces.enter("servers")
    ip(["link set director up"] + ["address add %s/24 dev director" % address for address in known.SERVERS.values()]
       + ["route add default via 192.168.1.1"])
    namespaces.enter("director")
    ip(["route add 172.16.0.0/16 via 10.64.1.1"])


def listeners(namespaces, all_scenarios):
    """A socket for each port, which takes connections to all servers."""
    namespaces.enter("servers")
    made = {}
    for port in sorted({port for one in all_scenarios for port in ports(one)}):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        listener.listen(64)
        listener.settimeout(LIMIT)
        made[port] = listener
    return made


def ports(one):
    return range(one["port"], one["port"] + one.get("ports", 1))


class Director:
    """ipvsadm, and the kernel's own listings. Leaves the process in the client's namespace."""

    def __init__(self, namespaces):
        self.namespaces = namespaces

    def commands(self, lines):
        self.namespaces.enter("director")
        run("ipvsadm -R", "".join(line + "\n" for line in lines))
        self.namespaces.enter("client")

    def mark(self, all_scenarios):
        """Has the packets of each service with a mark carry it."""
        self.namespaces.enter("director")
        rules = [
            "-A PREROUTING -d %s -p tcp --dport %d -j MARK --set-mark %d" % (address, one["port"], one["fwmark"])
            for one in all_scenarios if "fwmark" in one for address in one["virtuals"]
        ]
        legacy = any(os.access(folder + "/iptables-legacy-restore", os.X_OK) for folder in os.get_exec_path())
        restore = "iptables-legacy-restore" if legacy else "iptables-restore"
        run(restore, "*mangle\n" + "".join(rule + "\n" for rule in rules) + "COMMIT\n")
        self.namespaces.enter("client")

    def lines(self, name):
        self.namespaces.enter("director")
        with open("/proc/net/" + name) as file:
            text = file.read()
        self.namespaces.enter("client")
        return [line.split() for line in text.splitlines()]

    def connections(self, one):
        """The connections of a scenario, templates too: client, its port, service, server, state.

        The kernel lists its table a page at a time, and leaves one out for each that went meanwhile. What a second look
        shows too is whole."""
        last = None
        while True:
            now = sorted(self.connections_once(one))
            if now == last:
                return now
            last = now

    def connections_once(self, one):
        for words in self.lines("ip_vs_conn")[1:]:
            protocol, client, client_port, to, to_port, server, _, state = words[:8]
            if protocol == "IP":
                if int(to, 16) != one.get("fwmark"):
                    continue
                service = "mark %d" % int(to, 16)
            else:
                port = int(to_port, 16)
                mine = port in ports(one) or (port == 0 and "ports" in one)
                if dotted(to) not in one["virtuals"] or not mine:
                    continue
                service = "%s:%d" % (dotted(to), port)
            yield dotted(client), int(client_port, 16), service, dotted(server), state


def dotted(text):
    return socket.inet_ntoa(bytes.fromhex(text))


NAMES = {address: name for name, address in known.SERVERS.items()}


class Run:
    """A scenario while it is run. `go` stops where it has to wait, and says for what."""

    def __init__(self, one, director, listening):
        self.one = one
        self.director = director
        self.listening = listening
        self.present = [server["name"] for server in one["servers"]]
        self.held = []
        self.opened = 0
        if "fwmark" in one:
            self.services = ["-f %d" % one["fwmark"]]
        else:
            port = 0 if "ports" in one else one["port"]
            self.services = ["-t %s:%d" % (address, port) for address in one["virtuals"]]

    def set_up(self):
        one, lines = self.one, []
        for service in self.services:
            line = "-A %s -s %s" % (service, one["scheduler"])
            if "flags" in one:
                line += " -b " + ",".join(one["flags"])
            if "persistence" in one:
                line += " -p %d" % one["persistence"]
            if "mask" in one:
                line += " -M " + one["mask"]
            lines.append(line)
            lines += [self.server(service, "-a", server) for server in one["servers"]]
        self.director.commands(lines)

    def server(self, service, what, server):
        line = "%s %s -r %s" % (what, service, self.real(server["name"]))
        if what == "-d":
            return line
        return line + " -m -w %d -x %d -y %d" % (server["weight"], server.get("upper", 0), server.get("lower", 0))

    def real(self, name):
        return "%s:%d" % (known.SERVERS[name], 0 if "ports" in self.one else self.one["port"])

    def change(self, what, server):
        self.director.commands([self.server(service, what, server) for service in self.services])

    def go(self):
        self.set_up()
        for step in self.one["steps"]:
            if step == "expire":
                yield
                self.wait_until_expired()
                continue
            (what, details), = step.items()
            if what == "open":
                details["answers"] = "".join(self.open(number, details) for number in range(details["count"]))
            elif what in ("close", "reset"):
                for _ in range(min(details, len(self.held))):
                    self.end(*self.held.pop(0), what)
            elif what == "check":
                self.check(details)
            elif what == "add":
                self.present.append(details["name"])
                self.change("-a", details)
            elif what == "edit":
                self.change("-e", details)
            elif what == "remove":
                self.present.remove(details)
                self.change("-d", {"name": details})
            else:
                sys.exit("what is %r?" % what)
        for client, server, _ in self.held:
            for end in client, server:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                end.close()

    def open(self, number, details):
        one = self.one
        client = known.CLIENTS[(details["first"] + number * details["stride"]) % len(known.CLIENTS)]
        virtual = one["virtuals"][number % len(one["virtuals"])]
        port = one["port"] + number % one.get("ports", 1)
        source = 20000 + self.opened
        self.opened += 1
        ours = socket.socket()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.bind((client, source))
        ours.settimeout(SILENCE)
        try:
            ours.connect((virtual, port))
        except ConnectionRefusedError:
            ours.close()
            return "-"
        except socket.timeout:
            ours.close()
            return "?"
        theirs, peer = self.listening[port].accept()
        if peer != (client, source):
            sys.exit("%s: %s:%d was opened, %s:%d came" % ((one["name"], client, source) + peer))
        name = NAMES[theirs.getsockname()[0]]
        for end in ours, theirs:
            end.settimeout(LIMIT)
        # A byte each way.
        theirs.sendall(name.encode())
        if ours.recv(1) != name.encode():
            sys.exit("%s: %s was cut short" % (one["name"], source))
        ours.sendall(b"!")
        theirs.recv(1)
        if details["hold"] and number % details["hold"] == 0:
            self.held.append((ours, theirs, name))
        else:
            self.end(ours, theirs, name, "close")
        return name

    def end(self, ours, theirs, name, how):
        if name not in self.present:
            how = "give up"
        if how == "close":
            ours.shutdown(socket.SHUT_WR)
            assert theirs.recv(1) == b""
            theirs.close()
            assert ours.recv(1) == b""
            ours.close()
            return
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        ours.close()
        if how == "reset":
            try:
                theirs.recv(1)
                sys.exit("%s: a reset is not seen" % self.one["name"])
            except OSError as error:
                assert error.errno == errno.ECONNRESET, error
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        theirs.close()

    def check(self, details):
        loads = {name: [0, 0] for name in self.present}
        headings, inside = {"TCP", "UDP", "SCTP", "FWM"}, False
        port = "%04X" % (0 if "ports" in self.one else self.one["port"])
        addresses = {socket.inet_aton(address).hex().upper() for address in self.one["virtuals"]}
        for words in self.director.lines("ip_vs")[3:]:
            if words[0] in headings:
                if words[0] == "FWM":
                    inside = int(words[1], 16) == self.one.get("fwmark")
                else:
                    address, _, own = words[1].partition(":")
                    inside = "fwmark" not in self.one and address in addresses and own == port
            elif inside:
                load = loads[NAMES[dotted(words[1].partition(":")[0])]]
                load[0] += int(words[4])
                load[1] += int(words[5])
        details["loads"] = {name: loads[name] for name in sorted(loads)}
        if "persistence" in self.one:
            found = self.director.connections(self.one)
            details["templates"] = sorted(
                [client, service, NAMES[server]] for client, port, service, server, _ in found if port == 0
            )

    def wait_until_expired(self):
        end = time.monotonic() + EXPIRED
        while any(state == "CLOSE" for *_, state in self.director.connections(self.one)):
            if time.monotonic() > end:
                sys.exit("%s: connections that were reset do not go" % self.one["name"])
            time.sleep(0.1)


def lines_of(recording):
    """JSON with one line for each step."""
    heading = json.dumps({key: value for key, value in recording.items() if key != "scenarios"})[:-1]
    text = heading + ', "scenarios": [\n'
    for number, one in enumerate(recording["scenarios"]):
        shown = json.dumps({key: value for key, value in one.items() if key != "steps"}, ensure_ascii=False)[:-1]
        steps = ",\n".join("  " + json.dumps(step) for step in one["steps"])
        text += "%s%s,\n \"steps\": [\n%s\n ]}" % (",\n" if number else "", shown, steps)
    return text + "\n]}\n"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--to", default=FOLDER, help="the folder to write to")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (65536, 65536))
    made = [one for one in known.scenarios() if arguments.only in one["name"]]
    for module in ["ip_vs"] + sorted({"ip_vs_" + one["scheduler"] for one in made}):
        subprocess.run(["modprobe", "-q", module])
    start = time.monotonic()
    namespaces = Namespaces()
    connect(namespaces, made)
    listening = listeners(namespaces, made)
    director = Director(namespaces)
    director.mark(made)
    version = director.lines("ip_vs")[0]

    # All that need not wait are run, then the others as far as they can be, and so on: those wait together, and none
    # so long that its closed connections go.
    running = [Run(one, director, listening).go() for one in sorted(made, key=lambda one: "expire" in one["steps"])]
    while running:
        running = [one for one in running if next(one, "done") != "done"]
        print("%d scenarios wait, %.1f s" % (len(running), time.monotonic() - start), flush=True)

    answers = "".join(step["open"]["answers"] for one in made for step in one["steps"] if "open" in step)
    if "?" in answers:
        sys.exit("IPVS always answers, so that this machine was too busy; nothing is written, try again")

    os.makedirs(arguments.to, exist_ok=True)
    heading = {
        "kernel": " ".join([platform.release(), platform.version()]), "ipvs": version[4],
        "ipvsadm": run("ipvsadm --version").split()[1].lstrip("v"),
        "clients": known.CLIENTS, "addresses": known.SERVERS,
    }
    for group in sorted({one["name"].partition("/")[0] for one in made}):
        mine = [one for one in made if one["name"].startswith(group + "/")]
        with open(os.path.join(arguments.to, group + ".json"), "w") as file:
            file.write(lines_of(dict(heading, scenarios=mine)))
    print("%d scenarios, %d connections, %d refused, %.1f s on %s" % (
        len(made), len(answers), answers.count("-"), time.monotonic() - start, platform.release()))


if __name__ == "__main__":
    main()
