"""The scenarios that real IPVS is recorded with: which services there are, and what is done to them.

A scenario is a dictionary, as it is found again in recorded/*.json with its answers filled in:

  name        GROUP/WHAT; the group is the file that it is recorded in
  scheduler   as ipvsadm calls it, and `flags`, if any: sh-port, sh-fallback, mh-port, mh-fallback
  persistence seconds, and `mask`, the netmask of the clients that stay together
  virtuals    the virtual addresses; each is a service of its own, with the same servers,
              unless `fwmark` makes all of them one service
  port        the virtual port, and the servers' port; `ports`, if given, is how many ports a service for
              any port (virtual port 0) is asked at, from this one on
  servers     in the order in which they are added: name, weight, and the thresholds `upper`, `lower`
  steps       one after the other:
    open      `count` connections; connection n of them comes from client (first + n * stride) modulo 48 and goes
              to virtual address n modulo their number, at port + n modulo `ports`. Every `hold`-th is kept
              open, beginning with the first (0: none), the others are closed at once, by the client first.
              The source port of the n-th connection of a scenario is 20000 + n.
              Recorded: `answers`, the name of the server of each; - is a refusal
    close     closes up to so many of those kept open, the oldest first. One whose server was removed is given up
    reset     the same by a reset
    expire    waits until connections that were reset have gone, which is some 10 s
    add, edit, remove   a server
    check     Recorded: `loads`, by server what ipvsadm calls ActiveConn and InActConn, summed over the services, and
              `templates`, if persistent: client, service, server

Every scenario has ports of its own, because a server that was removed keeps its counts for a while and gets them back
when it is added to the same service again. Add new scenarios where you like, and record all of them again.
"""

import copy

CLIENTS = ["172.16.%d.%d" % (k % 6, 10 + k) for k in range(48)]
SERVERS = {name: "192.168.1.%d" % (11 + n) for n, name in enumerate("ABCDEFGH")}
VIRTUALS = ["10.64.4.%d" % n for n in range(1, 21)]

WEIGHTS = {"equal": (1, 1, 1, 1), "5-3-1": (5, 3, 1), "10-20-40-0": (10, 20, 40, 0)}


def servers(weights, upper=0, lower=0):
    return [server(name, weight, upper, lower) for name, weight in zip("ABCDEFGH", weights)]


def server(name, weight, upper=0, lower=0):
    entry = {"name": name, "weight": weight}
    if upper:
        entry["upper"] = upper
    if lower:
        entry["lower"] = lower
    return entry


def opened(count, hold=0, first=0, stride=7):
    return {"open": {"count": count, "first": first, "stride": stride, "hold": hold}}


CHECK = {"check": {}}
EXPIRE = "expire"


def add(*arguments):
    return {"add": server(*arguments)}


def edit(*arguments):
    return {"edit": server(*arguments)}


def remove(name):
    return {"remove": name}


def scenario(name, scheduler, members, steps, virtuals=VIRTUALS[:1], **more):
    return dict({"name": name, "scheduler": scheduler}, **more, virtuals=list(virtuals), servers=members, steps=steps)


CLOSED = [opened(40), CHECK, opened(20), CHECK]
HELD = [opened(40, 1), CHECK, opened(20, 1), CHECK]
MIXED = [opened(30, 2), CHECK, {"close": 8}, CHECK, opened(30, 3), {"close": 9}, CHECK, opened(30), CHECK]
KINDS = {"closed": CLOSED, "held": HELD, "mixed": MIXED}

# A server is drained and comes back, one is added, one removed, one gets another weight.
EDITS = [
    opened(11, 2), CHECK, edit("B", 0), opened(12, 2), CHECK, edit("B", 3), opened(13, 2), add("D", 4), opened(14, 2),
    CHECK, remove("A"), opened(12, 2), CHECK, edit("C", 7), opened(11, 2), CHECK,
]


def of_lists():
    """The schedulers that walk the list of servers."""
    for scheduler in ["rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf"]:
        # These look at weights alone, whatever became of the connections.
        kinds = ["mixed"] if scheduler in ("rr", "wrr", "fo") else list(KINDS)
        for title, weights in WEIGHTS.items():
            for kind in kinds:
                yield scenario("%s/%s %s" % (scheduler, title, kind), scheduler, servers(weights), KINDS[kind])
        yield scenario(scheduler + "/edits", scheduler, servers((5, 3, 1)), EDITS)
        if scheduler in ("rr", "wrr", "wlc"):
            yield scenario(scheduler + "/two services", scheduler, servers((2, 1, 3)), MIXED, VIRTUALS[:2])
            yield scenario(scheduler + "/closed", scheduler, servers((3, 1, 2)), CLOSED)
            yield scenario(scheduler + "/held", scheduler, servers((3, 1, 2)), HELD)


def of_turns():
    """Where the pointers of rr and wrr stand after an edit."""
    for scheduler in ["rr", "wrr"]:
        for taken in range(1, 5):
            steps = [opened(taken), remove("B"), opened(9), add("E", 2), opened(9), remove("D"), opened(9), CHECK]
            yield scenario("%s/removed after %d" % (scheduler, taken), scheduler, servers((2, 2, 1, 2)), steps)
        steps = [opened(5)]
        for weight in [0, 4, 9, 0, 2]:
            steps += [edit("A", weight), opened(11)]
        yield scenario(scheduler + "/weights up and down", scheduler, servers((4, 6, 8)), steps + [CHECK])
        steps = [
            opened(5), edit("A", 0), edit("B", 0), opened(4), edit("B", 3), opened(8), edit("A", 2), opened(12), CHECK,
        ]
        yield scenario(scheduler + "/all drained", scheduler, servers((2, 3)), steps)
        steps = [opened(4), remove("A"), remove("B"), opened(3), add("C", 1), opened(3), add("D", 3), opened(12), CHECK]
        yield scenario(scheduler + "/all removed", scheduler, servers((2, 3)), steps)
    steps = [opened(20, 2), CHECK, remove("B"), opened(10, 2), CHECK, add("B", 3), opened(15, 2), CHECK]
    for scheduler in ["rr", "wlc"]:
        yield scenario(scheduler + "/returns", scheduler, servers((5, 3, 1)), steps)


def of_hashes():
    """By the client's address."""
    for scheduler in ["sh", "mh"]:
        for title, weights in WEIGHTS.items():
            yield scenario("%s/%s" % (scheduler, title), scheduler, servers(weights), [opened(96, 5), CHECK])
        for names in [("port",), ("fallback",), ("port", "fallback")]:
            flags = ["%s-%s" % (scheduler, name) for name in names]
            title = "%s/%s" % (scheduler, " ".join(names))
            steps = [opened(96, 5), CHECK]
            yield scenario(title, scheduler, servers((5, 3, 1)), steps, flags=flags)
            yield scenario(title + " drained", scheduler, servers((10, 20, 40, 0)), steps, flags=flags)
            steps = [opened(24, stride=1), edit("B", 0), opened(48, stride=1), edit("B", 2), opened(24, stride=1)]
            yield scenario(title + " edits", scheduler, servers((5, 3, 1)), steps + EDITS, flags=flags)
        yield scenario(scheduler + "/edits", scheduler, servers((5, 3, 1)), EDITS)
        yield scenario(scheduler + "/one client", scheduler, servers((3, 2, 1)), [opened(40, 2, 5, 0), CHECK])


def of_destinations():
    """By the virtual address: with a service for each, and one service for all of them."""
    steps = [
        opened(60, 3), edit("B", 0), opened(40, 3), edit("B", 2), add("D", 3), opened(40), remove("C"), opened(40),
        CHECK,
    ]
    for scheduler in ["dh", "lblc", "lblcr"]:
        for title, weights in WEIGHTS.items():
            yield scenario("%s/%s" % (scheduler, title), scheduler, servers(weights), [opened(60, 3), CHECK], VIRTUALS)
            for kind in ["mixed"] if scheduler == "dh" else list(KINDS):
                name = "%s/mark %s %s" % (scheduler, title, kind)
                yield scenario(name, scheduler, servers(weights), KINDS[kind], VIRTUALS, fwmark=True)
        yield scenario(scheduler + "/edits", scheduler, servers((5, 3, 1)), EDITS)
        yield scenario(scheduler + "/mark edits", scheduler, servers((5, 3, 1)), steps, VIRTUALS, fwmark=True)
        yield scenario(scheduler + "/one address held", scheduler, servers((2, 3, 8)), [opened(60, 1), CHECK])
        yield scenario(scheduler + "/one address mixed", scheduler, servers((2, 3, 8)), MIXED)


def of_thresholds():
    upper = [
        opened(20, 1), CHECK, edit("B", 2, 7, 0), opened(6, 1), CHECK, edit("C", 3), opened(6, 1), {"reset": 9}, EXPIRE,
        CHECK, opened(10), CHECK,
    ]
    lower = [
        opened(20, 1), CHECK, {"reset": 4}, EXPIRE, CHECK, opened(5, 1), CHECK, {"reset": 8}, EXPIRE, CHECK,
        opened(12, 1), CHECK,
    ]
    for scheduler in ["rr", "wrr", "lc", "wlc", "sed", "nq", "fo", "ovf", "sh", "dh", "mh", "lblc", "lblcr"]:
        flagged = [[]] + ([[scheduler + "-fallback"]] if scheduler in ("sh", "mh") else [])
        for flags in flagged:
            title = " ".join([scheduler] + (["fallback"] if flags else []))
            more = {"flags": flags} if flags else {}
            members = servers((3, 2, 3), 4)
            yield scenario("thresholds/%s upper" % title, scheduler, members, upper, **more)
            if scheduler in ("rr", "wlc", "sh", "lblcr"):
                members = servers((3, 2, 3), 4, 2)
                yield scenario("thresholds/%s lower" % title, scheduler, members, lower, **more)
    closed = [opened(20), CHECK]
    yield scenario("thresholds/rr closed ones count", "rr", servers((1, 1, 1), 5), closed)
    lowered = [
        opened(9, 1), edit("A", 1, 2), edit("B", 1, 3), opened(6, 1), CHECK, edit("A", 1, 3), opened(4, 1),
        edit("B", 1, 20), opened(6, 1), CHECK,
    ]
    yield scenario("thresholds/rr lowered and raised", "rr", servers((1, 1), 20), lowered)
    # Where a pointer stands after refusals, of which there are more or fewer.
    for scheduler in ["rr", "wrr"]:
        for count in [15, 16, 20]:
            steps = [opened(count, 1), {"reset": 7}, EXPIRE, opened(9, 1), CHECK]
            name = "thresholds/%s refused %d" % (scheduler, count - 12)
            yield scenario(name, scheduler, servers((5, 3, 1), 4), steps)
    for scheduler in ["lblc", "lblcr"]:
        name = "thresholds/%s mark" % scheduler
        yield scenario(name, scheduler, servers((3, 2, 3), 12, 6), [opened(48, 1), CHECK], VIRTUALS, fwmark=True)


def of_persistence():
    twice = [opened(48, 3), CHECK, opened(48, 2, 5, 11), CHECK]
    for scheduler in ["rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "fo"]:
        name = "persistence/%s" % scheduler
        yield scenario(name, scheduler, servers((3, 2, 1)), twice, persistence=300)
    for scheduler in ["rr", "wlc", "sh"]:
        for mask in ["255.255.255.0", "255.255.255.248"]:
            name = "persistence/%s %s" % (scheduler, mask)
            yield scenario(name, scheduler, servers((3, 2, 1, 1)), twice, persistence=300, mask=mask)
    drained = [opened(24), edit("B", 0), opened(60), CHECK, edit("B", 2), opened(30), CHECK]
    removed = [opened(24, 2), CHECK, remove("B"), opened(48, 2), CHECK, add("D", 2), opened(20), CHECK]
    returns = [opened(24, 2), CHECK, remove("B"), add("B", 2), opened(48, 2), CHECK]
    full = [opened(24, 1), CHECK, opened(24, 1), opened(24, 1, 1, 5), CHECK]
    for scheduler in ["rr", "wlc"]:
        name = "persistence/%s " % scheduler
        yield scenario(name + "drained", scheduler, servers((3, 2, 1)), drained, persistence=300)
        yield scenario(name + "removed", scheduler, servers((3, 2, 1)), removed, persistence=300)
        yield scenario(name + "returns", scheduler, servers((3, 2, 1)), returns, persistence=300)
        yield scenario(name + "threshold", scheduler, servers((3, 2, 1), 5), full, persistence=300)
        for mask in [{}, {"mask": "255.255.255.0"}]:
            members, steps = servers((3, 2, 1)), twice + drained
            title = name + "masked " * len(mask)
            mask = dict(mask, persistence=300)
            yield scenario(title + "mark", scheduler, members, steps, VIRTUALS[:5], fwmark=True, **mask)
            yield scenario(title + "any port", scheduler, members, steps, [], ports=3, **mask)
    steps = [opened(10), edit("A", 0), edit("B", 0), opened(20), CHECK]
    yield scenario("persistence/rr all drained", "rr", servers((1, 1)), steps, persistence=300)
    yield scenario("persistence/wlc two services", "wlc", servers((2, 1)), twice, VIRTUALS[:2], persistence=300)


def scenarios():
    """All of them, with their ports; a service for any port has an address of its own."""
    made = []
    for group in [of_lists, of_turns, of_hashes, of_destinations, of_thresholds, of_persistence]:
        made += group()
    names = set()
    for number, one in enumerate(made):
        assert one["name"] not in names, one["name"]
        names.add(one["name"])
        # Steps are shared above, and answers are written into them.
        one["steps"] = [copy.deepcopy(step) for step in one["steps"]]
        one["port"] = 10000 + 4 * number
        if one["virtuals"] == []:
            one["virtuals"] = ["10.64.5.%d" % (number % 250 + 1)]
        if one.get("fwmark"):
            one["fwmark"] = number + 1
    return made
