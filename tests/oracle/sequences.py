"""What listings.py has ipvsadm do, once to real IPVS; the test does the same to xlvs, and compares what is printed.

A step is one of
  a text              arguments of ipvsadm
  {"restore": TEXT}   the standard input of ipvsadm -R
  {"open": CLIENT, "to": SERVICE}             a TCP connection that stays open
  {"close": N}, {"reset": N}                  ends so many of them, the oldest first
  {"ask": CLIENT, "to": SERVICE, "count": N}  datagrams of 100 bytes, each of which is answered by one of 50

Each sequence starts with nothing. ipvsadm compares addresses by a difference that overflows; three services whose
comparisons go in a circle would come in an order that the kernel draws, so that there are none. Services with traffic are under 10.64.4.1 and 10.64.4.2, their servers 192.168.1.11 to
13 at the ports 8080 (TCP) and 5353 (UDP); with a port in between, nobody listens. Not here is what xlvs refuses by design:
-g, -i, the synchronisation daemon, SCTP, persistence engines.
"""

LISTS = [
    "-L -n", "-Ln --stats", "-ln --rate", "-L -n --thresholds", "-L -n --persistent-conn", "--list --numeric --exact",
    "-Ln --stats --exact", "-S -n",
]
NAMED = ["-L", "--list --stats", "-S"]


def sequences():
    yield "empty", LISTS + NAMED + ["-L -n -c", "-Lnc --persistent-conn", "-L --timeout", "-L --daemon", "-C", "-Z"]

    yield "one service", [
        "-A -t 10.64.4.1:80 -s rr", "-Ln", "-a -t 10.64.4.1:80 -r 192.168.1.11:8080 -m",
        "-a -t 10.64.4.1:80 -r 192.168.1.12:8080 -m -w 3", "-a -t 10.64.4.1:80 -r 192.168.1.13 -m -w 0",
    ] + LISTS + NAMED + [
        "-Ln -t 10.64.4.1:80", "-ln --stats -t 10.64.4.1:80", "-L -t 10.64.4.1:http", "-Ln -t 10.64.4.1:81", "-Ln -u 10.64.4.1:80",
        "-e -t 10.64.4.1:80 -r 192.168.1.11:8080 -m -w 7", "-Ln", "-E -t 10.64.4.1:80 -s wlc", "-Ln",
        "-E -t 10.64.4.1:80", "-Ln", "-d -t 10.64.4.1:80 -r 192.168.1.12:8080", "-Ln", "-Z -t 10.64.4.1:80",
        "-D -t 10.64.4.1:80", "-Ln", "-S -n",
    ]

    yield "ipv6", [
        "-A -t [fd00:64::2]:80 -s wrr", "-a -t [fd00:64::2]:80 -r [fd00:1::100]:8080 -m -w 2",
        "-a -t [fd00:64::2]:80 -r [fd00:1::101]:8080 -m", "-A -u [2001:db8:1234:5678:9abc:def0:1234:5678]:53 -s rr -p 50 -M 64",
        "-a -u [2001:db8:1234:5678:9abc:def0:1234:5678]:53 -r [2001:db8:1234:5678:9abc:def0:1234:1]:65535 -m",
        "-A -t fd00:64::3 -p", "-a -t fd00:64::3 -r fd00:1::100 -m", "-A -t 10.64.4.1:80 -s rr",
    ] + LISTS + [
        "-Ln -t [fd00:64::2]:80", "-a -t [fd00:64::2]:80 -r 192.168.1.11:80 -m", "-A -t [fd00:64::4]:80 -p -M 0",
        "-A -t [fd00:64::4]:80 -p -M 129", "-D -t [fd00:64::2]:80", "-d -u [2001:db8:1234:5678:9abc:def0:1234:5678]:53 -r [::1]:1",
        "-Ln",
    ]

    yield "firewall marks", [
        "-A -f 7 -s rr", "-a -f 7 -r 192.168.1.11 -m", "-a -f 7 -r 192.168.1.12:8080 -m -w 4", "-A -f 7 -6 -s sed -p 90",
        "-a -f 7 -6 -r [fd00:1::100] -m",
        "-a -f 7 -6 -r fd00:1::100 -m", "-a -f 7 -6 -r [fd00:1::101]:80 -m", "-A -f 8 -6 -p 20 -M 48 -s rr", "-A -f 2147483648 -s lc", "-A --fwmark-service 1 -s nq -p 600 -M 255.255.0.0",
        "-A -u 10.64.4.1:53 -s rr", "-A -t 10.64.4.1:53 -s rr",
    ] + LISTS + NAMED + [
        "-Ln -f 7", "-Ln -f 7 -6", "-Ln -f 8", "-A -f 7", "-A -f 0", "-A -f x", "-A -f 4294967296", "-A -f -1", "-A -6 -f 9",
        "-E -f 7 -s fo -o", "-Ln", "-D -f 7 -6", "-d -f 7 -r 192.168.1.11", "-Ln", "-D -f 7", "-Ln",
    ]

    yield "persistence", [
        "-A -t 10.64.4.1:80 -p", "-A -t 10.64.4.1:81 -s rr -p 10 -M 255.255.255.0", "-A -t 10.64.4.1:82 -p 2678400 -s rr",
        "-A -t 10.64.4.1 -s rr -p 5", "-A -u 10.64.4.1:0 -s rr -p7", "-A -t 10.64.4.1:83 -s rr -M 255.0.0.0",
        "-A -u 10.64.4.1:53 -s rr --persistent=60 --netmask 255.255.255.255",
    ] + LISTS + [
        "-A -t 10.64.4.2 -s rr", "-A -t 10.64.4.2:80 -p 0", "-A -t 10.64.4.2:80 -p 2678401", "-A -t 10.64.4.2:80 -p abc",
        "-A -t 10.64.4.2:80 -M 1.2.3.4.5", "-E -t 10.64.4.1:81 -s rr", "-E -t 10.64.4.1:82 -s rr -p 20 -M 255.255.0.0", "-Ln", "-S",
    ]

    yield "flags", [
        "-A -t 10.64.4.1:80 -s sh -b sh-port", "-A -t 10.64.4.1:81 -s sh -b sh-fallback,sh-port",
        "-A -t 10.64.4.1:82 -s mh -b mh-port,mh-fallback", "-A -t 10.64.4.1:83 -s rr -b flag-1",
        "-A -t 10.64.4.1:84 -s rr -b flag-1,flag-2,flag-3", "-A -t 10.64.4.1:85 -s sh -b flag-3",
        "-A -u 10.64.4.1:53 -s rr -o", "-A -u 10.64.4.1:54 --ops -s sh -p 30 --sched-flags sh-fallback",
        "-A -t 10.64.4.1:86 -b sh-port -s sh",
    ] + LISTS + [
        "-A -t 10.64.4.1:87 -s rr -b sh-port", "-A -t 10.64.4.1:87 -s sh -b mh-port", "-A -t 10.64.4.1:87 -s sh -b nonsense",
        "-A -t 10.64.4.1:87 -o", "-E -t 10.64.4.1:81 -s sh", "-E -u 10.64.4.1:53 -s rr", "-Ln",
    ]

    yield "thresholds", [
        "-A -t 10.64.4.1:80 -s wlc", "-a -t 10.64.4.1:80 -r 192.168.1.11:8080 -m -x 100 -y 20",
        "-a -t 10.64.4.1:80 -r 192.168.1.12:8080 -m -x 2147483647", "-a -t 10.64.4.1:80 -r 192.168.1.13:8080 -m --u-threshold 8 --l-threshold 6",
    ] + LISTS + [
        "-a -t 10.64.4.1:80 -r 192.168.1.14:8080 -m -y 20", "-a -t 10.64.4.1:80 -r 192.168.1.14:8080 -m -x 10 -y 20",
        "-a -t 10.64.4.1:80 -r 192.168.1.14:8080 -m -x -1", "-a -t 10.64.4.1:80 -r 192.168.1.14:8080 -m -x 2147483648",
        "-e -t 10.64.4.1:80 -r 192.168.1.11:8080 -m -x 50", "-e -t 10.64.4.1:80 -r 192.168.1.12:8080 -m",
        "-Ln --thresholds", "-a -t 10.64.4.1:80 -r 192.168.1.14:8080 -m -w 65535", "-a -t 10.64.4.1:80 -r 192.168.1.15:8080 -m -w 65536",
        "-a -t 10.64.4.1:80 -r 192.168.1.16:8080 -m -w 2147483647", "-a -t 10.64.4.1:80 -r 192.168.1.17:8080 -m -w 2147483648",
        "-Ln", "-S -n",
    ]

    yield "order", [
        "-A -t 192.168.9.1:80 -s rr", "-A -t 10.64.4.1:443 -s rr", "-A -t 10.64.4.1:80 -s rr", "-A -u 10.64.4.1:80 -s rr",
        "-A -t 172.16.9.9:80 -s rr", "-A -t 200.1.1.1:80 -s rr", "-A -t [fe00::1]:80 -s rr", "-A -t [2001:db8::1]:80 -s rr",
        "-A -f 300 -s rr", "-A -f 20 -s rr", "-A -t [2001:db8::1]:79 -s rr", "-A -t [3001:db8::1]:79 -s rr",
    ] + ["-a -t 10.64.4.1:80 -r %s -m" % server for server in [
        "192.168.1.11:80", "10.1.1.1:80", "172.16.1.1:80", "192.168.1.11:79", "1.1.1.1:80", "223.255.255.254:80", "100.64.0.1:80",
        "130.1.1.1:80", "64.1.1.1:80",
    ]] + LISTS + [
        "-Ln --nosort -t 10.64.4.1:80", "-Ln --sort -t 10.64.4.1:80", "-d -t 10.64.4.1:80 -r 10.1.1.1:80",
        "-a -t 10.64.4.1:80 -r 10.1.1.1:80 -m", "-e -t 10.64.4.1:80 -r 1.1.1.1:80 -m -w 0", "-Ln --nosort -t 10.64.4.1:80",
        "-Ln --nosort --thresholds -t 10.64.4.1:80",
    ]

    yield "refusals", [
        "-A -t 10.64.4.1:80 -s rr", "-A -t 10.64.4.1:80 -s rr", "-A -t 10.64.4.1:81 -s nonsense", "-E -t 10.64.4.1:80 -s nonsense",
        "-E -t 10.64.4.1:81 -s rr", "-D -t 10.64.4.1:81", "-Z -t 10.64.4.1:81", "-a -t 10.64.4.1:81 -r 192.168.1.11:80 -m",
        "-a -t 10.64.4.1:80 -r 192.168.1.11:80 -m", "-a -t 10.64.4.1:80 -r 192.168.1.11:80 -m -w 5",
        "-e -t 10.64.4.1:80 -r 192.168.1.12:80 -m", "-e -t 10.64.4.1:81 -r 192.168.1.12:80 -m",
        "-d -t 10.64.4.1:80 -r 192.168.1.12:80", "-d -t 10.64.4.1:81 -r 192.168.1.12:80",
        "-a -t 10.64.4.1:80 -r 224.0.0.1:80 -m", "-a -t 10.64.4.1:80 -r 255.255.255.255:80 -m", "-a -t 10.64.4.1:80 -r 0.0.0.0:80 -m", "-Ln -t 10.64.4.9:80",
        "-Ln", "-D -t 10.64.4.1:80", "-D -t 10.64.4.1:80", "-Ln",
    ]

    yield "wrong usage", [
        "-Q", "foo", "-n -L", "-A", "-A -t", "-A -t 10.64.4.1:80 -s", "-A -t nonsense.invalid:80", "-A -t 10.64.4.1:99999", "-A -t 80",
        "-A -t 10.64.4.1:nonsense", "-A -t [fd00::1", "-A -t [fd00::1]", "-A -t 10.64.4.1:80 -t 10.64.4.2:80", "-A -D -t 10.64.4.1:80",
        "-A -t 10.64.4.1:80 -r 192.168.1.11:80", "-A -t 10.64.4.1:80 -n", "-A -t 10.64.4.1:80 -w 3", "-D -t 10.64.4.1:80 -s rr",
        "-C -t 10.64.4.1:80", "-L foo", "-L -n -n", "-L -c --stats", "-L --timeout --stats", "-L --timeout --daemon", "-L -c --timeout",
        "-L -c -t 10.64.4.1:80", "-L --daemon --persistent-conn", "-L -s rr", "-a -t 10.64.4.1:80 -m", "-a -r 10.64.4.1:80 -m",
        "-a -t 10.64.4.1:80 -r 80 -m", "-a -t 10.64.4.1:80 -r 192.168.1.11:80 -m -m", "-a -t 10.64.4.1:80 -r 192.168.1.11:80 -m -w -1",
        "-a -t 10.64.4.1:80 -r 192.168.1.11:80 -m -w 1x", "-a -t 10.64.4.1:80 -r 192.168.1.11:80 -m -y x",
        "-d -t 10.64.4.1:80 -r 192.168.1.11:80 -m", "-e -t 10.64.4.1:80 -r 192.168.1.11:80 -m -p", "--set", "--set 1 2", "--set 1 2 x",
        "--set 1 2 -3", "--set 1 2 3 4", "--set 1 2 2678401", "-S -c", "-Z -n", "-Lx", "-L --nonsense", "-L --numeric=3", "--add",
        "-A --tcp-service", "-L -nQ", "-", "--", "-L --", "-L -- foo", "-C foo", "-R foo", "-R -n", "-p -L", "-L -M 255.0.0.0",
        "-A -t 10.64.4.1:80 -M 255.255.255.255.0", "-AD -t 10.64.4.1:80", "-A --list", "-L -n=3", "-a -r 192.168.1.11:80 -t 10.64.4.1:80 -m -w", "foo -L bar",
        "-A -t 10.64.4.1:80 -p 20 -s", "-A -t 0x7f.1:80 -s rr", "-D -t 127.0.0.1:80", "-A -t +80", "-A -t 10.64.4.1:+80", "-D -t 10.64.4.1:80",
        "-A -t=10.64.4.1:80 -srr -p3", "-At10.64.4.1:81 --scheduler=wrr", "-Ln",
        "-E -t 10.64.4.1:81 -s lblcr", "-Ln", "-a -t 10.64.4.1:81 -r 192.168.1.11:80 -m --tun-type gue", "-a -t 10.64.4.1:81 -r 192.168.1.11:80 -m --tun-port 0",
        "-L --tun-info -n", "-L --thresholds --stats -n", "-L --rate --thresholds --persistent-conn -n",
    ]

    yield "restore and save", [
        {"restore": "-A -t 10.64.4.1:80 -s rr\n-a -t 10.64.4.1:80 -r 192.168.1.11:80 -m -w 1\n\n"
                    "  ipvsadm -A -u 10.64.4.1:53 -s wlc -p 300  \n-a -u 10.64.4.1:domain -r 192.168.1.12 -m -w 2\n"},
        "-S -n", "-S", "-Ln",
        {"restore": "-a -t 10.64.4.1:80 -r 192.168.1.11:80 -m\n-a -t 10.64.4.1:80 -r 192.168.1.13:80 -m"},
        "-S -n",
        {"restore": "-a -t 10.64.4.1:80 -r 192.168.1.14:80 -m\n-D -t 10.64.4.1:99\n"}, "-Ln",
        {"restore": "-a -t 10.64.4.1:80 -r 192.168.1.15:80 -m\n-A -t nonsense\n-a -t 10.64.4.1:80 -r 192.168.1.16:80 -m\n"}, "-Ln",
        {"restore": "-L -n\n-S -n\n-R\n-Z\n-C\n"}, {"restore": "-Q\n"}, {"restore": "foo\n-C\n"}, {"restore": "-C\n"}, "-Ln",
        {"restore": ""}, {"restore": "\n\n"},
        {"restore": "-A -t\n-A -t 10.64.4.1:80 -s rr\n"}, "-Ln", {"restore": "-A -t 10.64.4.1:81 -s rr # -p\n"}, "-Ln", {"restore": "# x\n-C\n"},
        {"restore": "-C\n-D -t 10.64.4.1:80\n-Z"},
    ]

    yield "time-outs", [
        "-L --timeout", "--set 60 30 20", "-L --timeout", "--set 0 0 0", "-L --timeout", "--set 0 10 0", "--list --timeout -n",
        "--set 2678400 1 1", "-L --timeout",
    ]

    yield "connections", [
        "-A -t 10.64.4.1:80 -s rr", "-a -t 10.64.4.1:80 -r 192.168.1.11:8080 -m", "-a -t 10.64.4.1:80 -r 192.168.1.12:8080 -m",
        {"open": "10.64.1.1:20001", "to": "10.64.4.1:80"}, {"open": "10.64.1.1:20002", "to": "10.64.4.1:80"},
        {"open": "172.16.0.10:20003", "to": "10.64.4.1:80"}, "-Ln", "-L -n -c", "-Lnc --sort", "-Lc", "-Ln --thresholds",
        {"close": 1}, "-Ln", "-Lnc", {"reset": 1}, "-Ln", "-Lnc", "-e -t 10.64.4.1:80 -r 192.168.1.11:8080 -m -w 0",
        {"open": "172.16.0.10:20004", "to": "10.64.4.1:80"}, "-Ln", "-Lnc",
        "-d -t 10.64.4.1:80 -r 192.168.1.12:8080", "-Ln", "-Lnc", "-a -t 10.64.4.1:80 -r 192.168.1.12:8080 -m -w 9", "-Ln",
        "-D -t 10.64.4.1:80", "-Ln", "-Lnc",
    ]

    yield "counters", [
        "-A -u 10.64.4.1:53 -s rr", "-a -u 10.64.4.1:53 -r 192.168.1.11:5353 -m", "-a -u 10.64.4.1:53 -r 192.168.1.12:5353 -m",
        {"ask": "10.64.1.1:20001", "to": "10.64.4.1:53", "count": 3}, {"ask": "172.16.0.10:20002", "to": "10.64.4.1:53", "count": 4},
        "-Ln --stats", "-Ln --stats --exact", "-Lnc", "-Ln", "-Ln --stats -u 10.64.4.1:53",
        "-A -u 10.64.4.2:53 -s rr", "-a -u 10.64.4.2:53 -r 192.168.1.13:5353 -m",
        {"ask": "172.16.0.10:20003", "to": "10.64.4.2:53", "count": 1}, "-Ln --stats", "-Z -u 10.64.4.1:53", "-Ln --stats",
        {"ask": "10.64.1.1:20001", "to": "10.64.4.1:53", "count": 1}, "-Ln --stats", "-d -u 10.64.4.1:53 -r 192.168.1.12:5353",
        "-Ln --stats", "-Z", "-Ln --stats", "-Ln",
    ]

    yield "persistent clients", [
        "-A -t 10.64.4.1:80 -s rr -p 100", "-a -t 10.64.4.1:80 -r 192.168.1.11:8080 -m", "-a -t 10.64.4.1:80 -r 192.168.1.12:8080 -m",
        {"open": "10.64.1.1:20001", "to": "10.64.4.1:80"}, {"open": "10.64.1.1:20002", "to": "10.64.4.1:80"},
        {"open": "172.16.0.10:20003", "to": "10.64.4.1:80"}, "-Ln", "-Ln --persistent-conn", "-Lnc", "-Lnc --persistent-conn",
        "-e -t 10.64.4.1:80 -r 192.168.1.12:8080 -m -w 0", {"open": "10.64.1.1:20004", "to": "10.64.4.1:80"},
        "-Ln --persistent-conn", "-A -u 10.64.4.2:0 -s rr -p 50 -M 255.255.0.0", "-a -u 10.64.4.2:0 -r 192.168.1.13:0 -m",
        {"ask": "172.16.0.10:20004", "to": "10.64.4.2:5353", "count": 2}, "-Lnc", "-Ln --persistent-conn", "-E -t 10.64.4.1:80 -s rr", "-Ln",
        "-Lnc",
    ]
