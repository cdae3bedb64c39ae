# Runs in the emulated machine, as one of three services. What it writes to the
# second serial port is seen outside as it happens, whatever the power does.
import glob, json, os, shutil, sqlite3, subprocess, sys, time

STORE = "/var/lib/hero_proc/"
REDIS = "/usr/bin/redis-server --port 6379 --dir /var/lib/redis --save '' --supervised systemd --daemonize no"
CHURNED = ["c0", "c1", "c2"]
port = os.open("/dev/ttyS1", os.O_WRONLY | os.O_NOCTTY)


def say(word, value):
    os.write(port, f"{word} {json.dumps(value)}\n".encode())


def hero_proc(*args):
    return subprocess.run(["hero_proc", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True)


def must(*args):
    done = hero_proc(*args)
    if done.returncode != 0:
        say("ERROR", f"hero_proc {args}: exit status {done.returncode}: {done.stdout}{done.stderr}")
        sys.exit(1)


def found():
    """Before hero_proc opens it: a copy of the store as the cut has left it."""
    to = "/run/found/"
    os.makedirs(to, exist_ok=True)
    for path in glob.glob(STORE + "hero_proc.db*"):
        shutil.copy(path, to)
    integrity = "no store"
    if os.path.exists(to + "hero_proc.db"):
        integrity = integrity_of(to + "hero_proc.db")
    say("FOUND", integrity)


def integrity_of(path):
    db = sqlite3.connect(path)
    try:
        return "\n".join(row[0] for row in db.execute("PRAGMA integrity_check"))
    except sqlite3.Error as e:
        return str(e)
    finally:
        db.close()


def units():
    """The hero units by name: their state, and the invocation they have."""
    shown = subprocess.run(["systemctl", "show", "--property=Id,ActiveState,InvocationID", "hero-*.service"], capture_output=True, text=True).stdout
    all = {}
    for block in shown.split("\n\n"):
        props = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in props:
            all[props["Id"]] = {"active": props["ActiveState"], "invocation": props.get("InvocationID", "")}
    return all


def state():
    db = sqlite3.connect(f"file:{STORE}hero_proc.db?mode=ro", uri=True, timeout=30)
    read = lambda query: [list(row) for row in db.execute(query)]
    ping = subprocess.run(["redis-cli", "ping"], capture_output=True, text=True).stdout.strip()
    listed = hero_proc("--json", "service", "list")
    view = {
        "integrity": integrity_of(f"{STORE}hero_proc.db"),
        # As the daemon has them, and as the store has them.
        "listed": sorted(s["name"] for s in json.loads(listed.stdout)["services"]) if listed.returncode == 0 else [],
        "stored": {name: json.loads(definition).get("env", {}).get("N", "") for name, definition in
                   read("SELECT service_name, definition FROM actions ORDER BY service_name")},
        "units": units(),
        "live": [{"unit": u, "invocation": i, "phase": p} for u, i, p in
                 read("SELECT unit, invocation_id, phase FROM jobs WHERE phase IN ('pending', 'running')")],
        "invocations": [i for (i,) in read("SELECT invocation_id FROM jobs WHERE invocation_id <> ''")],
        "hero_db": ping,
        "events": [f"{c}: {m}" for c, m in read("SELECT code, message FROM logs WHERE source = 'hero_proc.store'")],
    }
    db.close()
    return view


def settled(view):
    """The history follows systemd by its signals, so it may be a moment late."""
    live = {job["unit"]: job["invocation"] for job in view["live"]}
    up = {name: unit["invocation"] for name, unit in view["units"].items() if unit["active"] not in ("inactive", "failed")}
    return live == up and (view["hero_db"] == "PONG" or "hero_db" not in view["listed"])


def work():
    deadline = time.monotonic() + 180
    view = state()
    while not settled(view) and time.monotonic() < deadline:
        time.sleep(0.1)
        view = state()
    say("STATE", view)
    if "hero_db" not in view["listed"]:
        must("service", "set", "hero_db", "--exec", REDIS, "--ready", "notify", "--now")
    for name in CHURNED:
        if name not in view["listed"]:
            must("service", "set", name, "--exec", "/usr/bin/sleep infinity", "--now")
    subprocess.run(["systemctl", "start", "--no-block", "powercut-churn.service"])
    n = next(int(word.split("=")[1]) for word in open("/proc/cmdline").read().split() if word.startswith("powercut.next="))
    while True:
        # What n does is known outside, too: see change in model_test.go.
        name = f"s{n % 12}"
        say("TRY", n)
        if n % 5 == 4:
            done = hero_proc("service", "remove", name)
            if done.returncode == 4:  # it was not there
                done.returncode = 0
        else:
            done = hero_proc("service", "set", name, "--exec", "/usr/bin/sleep infinity", "--status", "stop", "--env", f"N={n}")
        if done.returncode != 0:
            say("ERROR", f"change {n}: exit status {done.returncode}: {done.stdout}{done.stderr}")
            sys.exit(1)
        say("ACK", n)
        n += 1


def churn():
    """Services that start and stop, so that history is written all the time."""
    while True:
        for name in CHURNED:
            must("service", "restart", name)
            unit = f"hero-core-{name}.service"
            say("RAN", units()[unit]["invocation"])


{"found": found, "work": work, "churn": churn}[sys.argv[1]]()
