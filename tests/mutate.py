#!/usr/bin/env python3
"""Do the tests notice? Changes one place of the source at a time and runs the tests that concern it.

    tests/mutate.py [--count 300] [--seed 1] [--rooms run,store] [--jobs 1]     goes on where it stopped
    tests/mutate.py --again     those that lived once more, against the tests as they are now
    tests/mutate.py --whole     those that lived, against the rest of the suite
    tests/mutate.py --table     the table of what is known, and what lives

A mutant is one change of one place: a comparison, a sign, a constant, a condition, a statement left out. What does not
compile, or compiles to the same code, is none. Each room gets its share of the mutants by the size of its code; the seed
chooses them. A mutant is killed by the first test that fails or takes many times as long as ever; it lives when all tests of
its room pass, and in the end when the whole suite does. tests/mutants.txt names those that live because they change nothing
that anybody could see, with the reason.

Works in build/mutate, in copies of the tracked files, which each start brings up to date.
"""
import argparse, collections, concurrent.futures, json, os, pathlib, queue, random, re, resource, shutil, signal, subprocess, sys
import tempfile, threading, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutate"
LOG = WORK / "log.jsonl"
MAKE = ["make", "--no-print-directory", "CUDA=0", f"CC={'ccache gcc' if shutil.which('ccache') else 'gcc'}"]

# Where a room lies, and the tests that concern it, the quickest first. A test with a file's own name comes before them.
ROOMS = {
    "run": ("harness/run", ["errors.sh", "chat.sh", "verify.sh", "questions.sh", "sweep.sh", "spread.sh", "stored.sh", "apart.sh", "kill.sh", "families.sh"]),
    "engine": ("harness/engine", ["test_engine_methods", "test_engine", "sweep.sh"]),
    "store": ("harness/store", ["test_store", "stored.sh", "kill.sh", "apart.sh", "faults.sh"]),
    "report": ("harness/report", ["test_stats", "test_report", "sweep.sh", "families.sh"]),
    "config": ("harness/config", ["test_sweep", "errors.sh", "sweep.sh"]),
    "methods": ("methods", ["test_methods", "test_engine_methods", "test_methods_plugin", "test_backend_searches", "help.sh", "plugin.sh"]),
    "tasks": ("tasks", ["test_scoring", "test_stories", "test_qa", "test_tasks", "help.sh"]),
}
# Seconds of processors that the long ones take; a test may take three times that, and some more; and many times that until it
# ends, as others use the machine too.
SECONDS = {"test_report": 10, "test_check": 10, "test_store": 7, "mini.sh": 10, "families.sh": 7, "sweep.sh": 7, "faults.sh": 7}
USUAL, TIMES, SPARE, WAIT = 5, 3, 5, 30

Mutant = collections.namedtuple("Mutant", "room file line column before after")


# ---- what may be changed ---------------------------------------------------------------------------------------------

def code_only(text):
    """The text with comments, strings, characters, directives and their continuations blanked, places kept."""
    blank = lambda m: re.sub(r"[^\n]", " ", m.group())
    text = re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)


EXCHANGES = [  # pattern of a token, what it becomes
    (r"(?<![<>=!+\-*/%&|^])<=(?!=)", ["<"]), (r"(?<![<>=!\-])>=(?!=)", [">"]),
    (r"(?<=\s)<(?=\s)", ["<=", ">"]), (r"(?<=\s)>(?=\s)", [">=", "<"]),
    (r"==", ["!="]), (r"!=", ["=="]), (r"&&", ["||"]), (r"\|\|", ["&&"]),
    (r"(?<=\s)\+(?=\s)", ["-"]), (r"(?<=\s)-(?=\s)", ["+"]), (r"(?<=\s)\*(?=\s)", ["/"]), (r"(?<=\s)/(?=\s)", ["*"]),
    (r"\+\+", ["--"]), (r"\+=", ["-="]), (r"-=", ["+="]),
    (r"\btrue\b", ["false"]), (r"\bfalse\b", ["true"]), (r"\bcontinue\b", ["break"]), (r"\bbreak\b", ["continue"]),
    (r"(?<![\w.\[{])(?<!snprintf\(text, )(?<!<< )(?:0|[1-9]\d*)(?![\w.\]])(?! <<)", [lambda s: str(int(s, 0) + 1)]), (r"(?<=\()!(?=\w)", [""]),
    (r"(?<=\bif \()(?=\S)", ["!("]),  # closed by whole_condition()
]
STATEMENT = re.compile(r"^ {4,}(?!return\b|static\b|const\b|case\b|default\b|goto\b|break\b|continue\b|for\b|if\b|else\b|while\b"
                       r"|do\b|assert|\w*(?:free|close|decref|release|unref)\b)[a-z_][\w>.\-\[\]+* ]*(?:\(| [-+*/|]?= |\+\+|--).*;$", re.M)


def whole_condition(code, start):
    """Where the condition that begins at `start` ends."""
    depth = 0
    for i in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[i], 0)
        if depth < 0:
            return i
    return None


def mutants_of(room, file):
    text = (ROOT / file).read_text()
    code, starts = code_only(text), [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    found = []

    def add(start, end, new):
        line = text.count("\n", 0, start)
        row = text[starts[line]:starts[line + 1] - 1]
        if "assert(" in row or end > starts[line + 1] or code[starts[line]:start].lstrip().startswith(("enum", "static const")) and "(" not in row:
            return
        at = start - starts[line]
        found.append(Mutant(room, file, line + 1, at, row, row[:at] + new + row[at + end - start:]))

    for pattern, changes in EXCHANGES:
        for m in re.finditer(pattern, code):
            for change in changes:
                if change == "!(":
                    end = whole_condition(code, m.start())
                    if end:
                        add(m.start(), end, "!(" + text[m.start():end] + ")")
                else:
                    add(m.start(), m.end(), change(m.group()) if callable(change) else change)
    for m in STATEMENT.finditer(code):
        if not re.match(r"\s*[a-z_]\w*(?: \w+)* \**\w+(?:\[.*\])*(?: =|;|,)", m.group()):  # a declaration
            indent = len(m.group()) - len(m.group().lstrip())
            add(m.start() + indent, m.end(), ";")
    return [m for m in found if m.before != m.after]


def choose(rooms, count, seed):
    """Mutants in a fixed random order, each room's share of `count` and as many again in reserve."""
    every = {r: [m for f in sorted((ROOT / ROOMS[r][0]).rglob("*.c")) for m in mutants_of(r, str(f.relative_to(ROOT)))]
             for r in rooms}
    size = {r: len(every[r]) ** 0.5 for r in rooms}  # a large room gets more, but no room little
    share = {r: round(count * size[r] / sum(size.values())) for r in rooms}
    for r in rooms:
        random.Random(f"{seed} {r}").shuffle(every[r])
    return every, share


# ---- a copy that is built --------------------------------------------------------------------------------------------

def run(words, cwd, **more):
    return subprocess.run(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **more)


def copy_tree(to):
    """The tracked files as they lie here; those that did not change keep their times, so that make has little to do."""
    to.mkdir(parents=True, exist_ok=True)
    names = run(["git", "ls-files", "-z"], ROOT).stdout.split("\0")
    names = {n for n in names if n and (ROOT / n).is_file()}
    for old in [p for p in to.rglob("*") if p.is_file() and p.suffix in (".c", ".h", ".sh", ".txt", ".py")]:
        if "build" not in old.relative_to(to).parts and str(old.relative_to(to)) not in names:
            old.unlink()
    for n in names:
        here, there = ROOT / n, to / n
        if there.is_file() and there.stat().st_size == here.stat().st_size and there.read_bytes() == here.read_bytes():
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(here, there)


def build(tree):
    done = run([*MAKE, f"-j{os.cpu_count()}", "WERROR=1", "all", "tests"], tree)
    if done.returncode:
        sys.exit(f"{tree} does not build:\n{done.stdout[-3000:]}")


def tests_of(tree):
    """Test programs and scripts by name."""
    return ([p.stem for p in sorted((tree / "tests").glob("test_*.c"))] +
            [p.name for p in sorted((tree / "tests" / "cli").glob("*.sh"))])


def run_test(tree, test):
    """Whether it passes; ends at the first failure that is told, and when it takes too long."""
    limit = TIMES * SECONDS.get(test, USUAL) + SPARE
    script = test.endswith(".sh")
    words = [str(tree / "tests" / "cli" / test)] if script else [str(tree / "build" / "tests" / test)]
    roomy = os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 4 << 30 # in a container it may hold 64 MB
    scratch = tempfile.mkdtemp(prefix="mutant-", dir="/dev/shm" if roomy else None)
    env = {**os.environ, "FRONTIER": str(tree / "build" / "frontier"), "OPENBLAS_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0",
           "TMPDIR": scratch}
    p = subprocess.Popen(words, cwd=tree, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         text=True, errors="replace", start_new_session=True,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit)))

    def stop():
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def first_failure():
        for line in p.stderr:
            if "[  FAILED  ]" in line:
                stop()

    reader, alarm = threading.Thread(target=first_failure), threading.Timer(limit * WAIT, stop)
    reader.start(), alarm.start()
    p.wait()
    alarm.cancel()
    stop()
    reader.join()
    shutil.rmtree(scratch, ignore_errors=True)
    return p.returncode == 0


def concerning(tree, m, whole):
    """The tests of the mutant's room; or all others."""
    room = ROOMS[m.room][1]
    if whole:
        return [t for t in sorted(tests_of(tree), key=lambda t: SECONDS.get(t, USUAL)) if t not in room]
    own = f"test_{pathlib.Path(m.file).stem}"
    return ([own] if own in tests_of(tree) and own not in room else []) + sorted(room, key=lambda t: t != own)


# ---- one mutant ------------------------------------------------------------------------------------------------------

def put(path, text, stat=None):
    path.write_text(text)
    if stat:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def make_test(tree, test):
    """Builds what the test needs; whether that went well."""
    needs = ["build/frontier"] if test.endswith(".sh") or test in NEEDS_PROGRAM else []
    return run([*MAKE, *needs, *([] if test.endswith(".sh") else [f"build/tests/{test}"])], tree).returncode == 0


def try_mutant(tree, m, tests):
    """('none' | 'killed' | 'lived', by what)"""
    source, target = tree / m.file, f"build/{m.file[:-2]}.o"
    text, kept, compiled = source.read_text(), source.stat(), (tree / target).read_bytes()
    object_kept = (tree / target).stat()
    rows = text.split("\n")
    if rows[m.line - 1] != m.before:
        return "none", "the line is another"
    rows[m.line - 1] = m.after
    try:
        put(source, "\n".join(rows))
        if run([*MAKE, target], tree).returncode:
            return "none", "does not compile"
        if (tree / target).read_bytes() == compiled:
            return "none", "the same code"
        failed = []
        for test in tests:
            if not make_test(tree, test):
                return "none", "does not link"
            if not run_test(tree, test):
                failed.append(test)
                if test in TRUSTED:
                    break
    finally:
        put(source, text, kept)
        (tree / target).write_bytes(compiled)
        os.utime(tree / target, ns=(object_kept.st_atime_ns, object_kept.st_mtime_ns))
    for test in failed:
        if test not in TRUSTED:  # does it pass where nothing is changed?
            (tree / "build" / "libfrontier.a").unlink(missing_ok=True)
            if not make_test(tree, test) or not run_test(tree, test):
                print(f"{test} fails where nothing is changed, in {tree}", flush=True)
                continue
            TRUSTED.add(test)
        return "killed", test
    return "lived", f"{len(tests) - len(failed)} tests"


TRUSTED = set()  # have failed of a mutant and passed without it
NEEDS_PROGRAM = {p.stem for p in (ROOT / "tests").glob("test_*.c") if "FRONTIER" in p.read_text()}


# ---- what is known ---------------------------------------------------------------------------------------------------

def identity(m):
    return (m.file, m.before.strip(), m.after.strip())


def read_log():
    known = {}
    if LOG.exists():
        for row in map(json.loads, LOG.read_text().splitlines()):
            known[(row["file"], row["before"].strip(), row["after"].strip())] = row
    return known


def excused():
    """Of tests/mutants.txt: {(file, before, after): reason}."""
    rows = {}
    for block in (ROOT / "tests" / "mutants.txt").read_text().split("\n\n"):
        part = [l for l in block.splitlines() if not l.startswith("#")]
        if len(part) == 4:
            rows[tuple(l[2:].strip() if i else l.strip() for i, l in enumerate(part[:3]))] = part[3].strip()
    return rows


def table(known):
    reasons, count = excused(), collections.defaultdict(collections.Counter)
    for key, row in known.items():
        if row["verdict"] != "none":
            verdict = "equivalent" if row["verdict"] == "lived" and key in reasons else row["verdict"]
            count[row["room"]][verdict] += 1
            count["all"][verdict] += 1
            if verdict == "lived":
                print(f"lives  {row['file']}:{row['line']} ({row['by']})\n  - {row['before'].strip()}\n  + {row['after'].strip()}")
    print(f"{'room':8} {'mutants':>8} {'killed':>8} {'equivalent':>10} {'living':>8} {'killed of those that are not equivalent':>40}")
    for room in [*ROOMS, "all"]:
        c = count[room]
        total, real = sum(c.values()), c["killed"] + c["lived"]
        if total:
            print(f"{room:8} {total:8} {c['killed']:8} {c['equivalent']:10} {c['lived']:8} {100 * c['killed'] / max(real, 1):38.1f} %")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--count", type=int, default=300)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--rooms", default=",".join(ROOMS))
    p.add_argument("--jobs", type=int, default=1)
    for option in ("--again", "--whole", "--table"):
        p.add_argument(option, action="store_true")
    o = p.parse_args()
    rooms = o.rooms.split(",")
    known = read_log()
    if o.table:
        return table(known)

    every, share = choose(rooms, o.count, o.seed)
    WORK.mkdir(parents=True, exist_ok=True)
    trees = queue.Queue()
    for i in range(o.jobs):
        copy_tree(WORK / f"tree{i}")
        build(WORK / f"tree{i}")
        trees.put(WORK / f"tree{i}")

    def one(m):
        tree = trees.get()
        try:
            begun = time.monotonic()
            verdict, by = try_mutant(tree, m, concerning(tree, m, o.whole))
        finally:
            trees.put(tree)
        row = {**m._asdict(), "verdict": verdict, "by": by, "seconds": round(time.monotonic() - begun, 1)}
        with LOG.open("a") as f:
            f.write(json.dumps(row) + "\n")
        print(f"{verdict:6} {m.file}:{m.line} by {by}, {row['seconds']} s", flush=True)
        return verdict

    if o.again or o.whole:
        reasons = excused()
        todo = [m for r in rooms for m in every[r]
                if known.get(identity(m), {}).get("verdict") == "lived" and identity(m) not in reasons]
        with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
            list(pool.map(one, todo))
        return table(read_log())

    # Room by room in turn, so that a campaign that is cut short has seen them all.
    waiting = {r: iter(every[r]) for r in rooms}
    left = {r: share[r] for r in rooms}
    for r in rooms:
        left[r] -= sum(known.get(identity(m), {}).get("verdict", "none") != "none" for m in every[r])

    def turns():
        while any(n > 0 for n in left.values()):
            for r in sorted(rooms, key=lambda r: -left[r] / max(share[r], 1)):
                if left[r] > 0:
                    m = next((m for m in waiting[r] if identity(m) not in known), None)
                    if m is None:
                        left[r] = 0
                        continue
                    left[r] -= 1
                    yield m

    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        running = set()
        for m in turns():
            running.add((pool.submit(one, m), m.room))
            while len(running) >= o.jobs:
                concurrent.futures.wait([f for f, _ in running], return_when=concurrent.futures.FIRST_COMPLETED)
                for f, room in [x for x in running if x[0].done()]:
                    running.discard((f, room))
                    if f.result() == "none":
                        left[room] += 1  # another one in its place
        for f, room in running:
            f.result()
    table(read_log())


if __name__ == "__main__":
    main()
