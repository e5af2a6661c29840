#!/usr/bin/env python3
"""How long a client stays with its server in real IPVS: persistence.json.

Needs what record.py needs. Each scenario has a service of its own, as in the example file: two servers, rr, persistence
of 10 s; and a client who opens, closes and resets connections at given seconds. Recorded are the server that each
connection came to, when the template was gone (it is looked for four times a second), and the server of a connection
after that. The kernel's timers are late by up to an eighth of their time. A machine whose idle time costs nothing
(qemu's icount) makes it short; else it takes three minutes.

usage: persistence.py [FILE]
"""

import heapq
import json
import os
import platform
import socket
import subprocess
import sys
import time

import record
import scenarios as known

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "persistence.json")
LOOK = 0.25
PERSISTENCE = 10
# (second, what, number of the connection that is closed or reset). In TIME_WAIT a connection stays for 120 s, after a reset
# for 10 s. No two things end together.
SCENARIOS = [
    ("closed in order", [(0, "open"), (1, "close", 0)]),
    ("another one before the time ends", [(0, "open"), (1, "close", 0), (5, "open"), (6, "close", 1)]),
    ("one after the other", [(0, "open"), (1, "close", 0), (8, "open"), (9, "close", 1), (16, "open"), (17, "close", 2)]),
    ("reset while its time goes on", [(0, "open"), (5, "reset", 0)]),
    ("held, then reset", [(0, "open"), (25, "reset", 0)]),
    ("held, another one meanwhile", [(0, "open"), (30, "open"), (31, "reset", 1), (95, "reset", 0)]),
    ("another one in the last minute", [(0, "open"), (1, "close", 0), (97, "open"), (98, "reset", 1)]),
]


class Client(record.Run):
    def __init__(self, number, name, events, director, listening):
        one = dict(name=name, scheduler="rr", persistence=PERSISTENCE, virtuals=["10.64.4.1"], port=10000 + number,
                   servers=known.servers((1, 1)))
        super().__init__(one, director, listening)
        self.events, self.ends, self.answers, self.end_at, self.number = events, [], [], None, number

    def act(self, what, which=None):
        if what == "open":
            name = self.open(0, {"first": self.number, "stride": 0, "hold": 1})
            self.ends.append(self.held.pop())
            self.answers.append(name)
        else:
            self.end(*self.ends[which], what)

    def has_template(self):
        return any(port == 0 for _, port, *_ in self.director.connections(self.one))


def main():
    file = sys.argv[1] if len(sys.argv) > 1 else FILE
    for module in ["ip_vs", "ip_vs_rr"]:
        subprocess.run(["modprobe", "-q", module])
    namespaces = record.Namespaces()
    ones = [dict(virtuals=["10.64.4.1"], port=10000 + number) for number in range(len(SCENARIOS))]
    record.connect(namespaces, ones)
    listening = record.listeners(namespaces, ones)
    director = record.Director(namespaces)
    clients = [Client(number, name, events, director, listening) for number, (name, events) in enumerate(SCENARIOS)]
    for client in clients:
        client.set_up()
    queue = [(event[0], client.number, event[1:]) for client in clients for event in client.events]
    heapq.heapify(queue)
    start = time.monotonic()
    waiting = set(range(len(clients)))
    while waiting:
        now = time.monotonic() - start
        while queue and queue[0][0] <= now:
            _, number, event = heapq.heappop(queue)
            clients[number].act(*event)
        for number in sorted(waiting):
            client = clients[number]
            last = client.events[-1][0]
            if now > last + 1 and not client.has_template():
                client.end_at = round(time.monotonic() - start, 2)
                client.act("open")
                waiting.remove(number)
        time.sleep(LOOK)
    namespaces.enter("director")
    heading = dict(kernel=" ".join([platform.release(), platform.version()]), persistence=PERSISTENCE)
    made = []
    for client in clients:
        events = [dict(at=event[0], **({"open": answer} if event[1] == "open" else {event[1]: event[2]}))
                  for event, answer in zip(client.events, answers_of(client))]
        made.append(dict(name=client.one["name"], events=events, gone=client.end_at, then=client.answers[-1]))
    text = json.dumps(heading)[:-1] + ', "scenarios": [\n' + ",\n".join(json.dumps(one) for one in made) + "\n]}\n"
    with open(file, "w") as out:
        out.write(text)
    print(text)


def answers_of(client):
    answers = iter(client.answers)
    return [next(answers) if event[1] == "open" else None for event in client.events]


main()
