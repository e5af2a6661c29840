#!/usr/bin/env python3
"""Records what the real keepalived makes of the configurations in files/.

Run as root on a machine (a throw-away virtual machine, rather) with IPVS and keepalived; nothing else may use IPVS there:

    record.py OUT [FILE...]

For each FILE (all of files/*.conf by default) OUT/NAME.txt gets keepalived's messages about the configuration, its dump
of the virtual servers and health checkers (`--dump-conf`), and what is then in IPVS (`ipvsadm -Sn`), without times and
without lines about the state at run time. The host name is of no influence: the configuration id is `main`.
"""

import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
READY = "Activating BFD healthchecker"
STAMP = re.compile(r"^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}: ?")
# What is not about the configuration.
NOISE = re.compile(
    r"^(Starting |Running on |Command line|\s+'|Configuration file |NOTICE: setting config option max_auto|"
    r"Initializing ipvs|Startup complete|Script user 'keepalived_script'|Activating |Gained quorum|Stopping|Stopped|"
    r"Shutting down|Lost quorum|Removing |Adding |Disabling |Enabling |Warning - script .* is not used|"
    r"Cannot|.*(succeeded|failed|timeout|error|unreachable).*(service|server|check)|\s+Default script uid)"
)
STATE = re.compile(
    r"^\s+(alive|quorum_state_up|reloaded|num failed checkers|RS set|effective weight|previous effective_weight|"
    r"Enabled|Up|Has run|Current weight|Retries iterations|Last exit|Script state|State|Current)\b"
)


def over(log):
    """Whether the configuration has been dumped, or the checker process crashed."""
    text = log.read_text(errors="replace")
    return READY in text or "Respawning" in text


def record(conf):
    log = pathlib.Path("/run/keepalived-record.log")
    with log.open("w") as out:
        daemon = subprocess.Popen(
            ["keepalived", "-C", "-n", "-l", "-d", "-i", "main", "-f", str(conf),
             "-p", "/run/record-k.pid", "-c", "/run/record-c.pid"],
            stdout=out, stderr=out, cwd=conf.parent)
        give_up = time.monotonic() + 60
        while not over(log) and daemon.poll() is None and time.monotonic() < give_up:
            time.sleep(0.05)
        in_ipvs = subprocess.run(["ipvsadm", "-Sn"], capture_output=True, text=True, check=True).stdout
        daemon.terminate()
        code = daemon.wait()
    lines = [STAMP.sub("", line) for line in log.read_text(errors="replace").splitlines()]
    text = "\n".join(lines)
    before, _, rest = text.partition("------< Global definitions >------\n")
    dump = rest[rest.find("------< LVS Topology >------"):] if "LVS Topology" in rest else ""
    dump = dump.partition("\nActivating ")[0]
    said = [line for line in before.splitlines() if not NOISE.match(line)]
    kept = [line for line in dump.splitlines() if not STATE.match(line) and not NOISE.match(line)]
    subprocess.run(["ipvsadm", "-C"], check=True)
    parts = ["# said", *said, "# dump", *kept, "# ipvsadm", *in_ipvs.splitlines()]
    if not dump:
        parts.insert(0, f"# ended with {code}")
    return "\n".join(parts) + "\n"


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    files = [pathlib.Path(name).resolve() for name in sys.argv[2:]] or sorted((HERE / "files").glob("*.conf"))
    subprocess.run(["modprobe", "ip_vs"], check=False)
    for conf in files:
        name = conf.name.removesuffix(".conf")
        (out / f"{name}.txt").write_text(record(conf))
        print(name, flush=True)


main()
