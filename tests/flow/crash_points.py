"""The figures behind tests/flow/crash: at which system call to kill, what the journal said after it, what the table says.

  journal STATE                   the newer copy of the journal: sequence, generation and stage, on one line
  profile LOG OUT GENERATION START  from strace's log of a run: each system call, its number, the journal's state when it was made
  choose PROFILES KEY TABLE SEED  a kill point: system call, number, how many of them a whole run makes
  summary TABLE                   the recorded kills in figures; exit status 1 where one failed
"""
import ast
import collections
import csv
import json
import os
import random
import re
import sys

STATES = ["before", "open", "switched", "rewritten", "proved", "narrowing", "closed"]
LOOKS = 75  # of a hundred calls before the transition is recorded, so many have no effect
CALL = re.compile(r"^(\d+)\s+(\w+)\(")
TEXT = re.compile(r', "((?:[^"\\]|\\.)*)"')


def stage(transition):
    """The journal's state, of a transition as the journal has it; none is open: "none"."""
    if transition is None:
        return "none"
    if transition["stage"] == "narrowing":
        return "narrowing"
    for name in ("proved", "rewritten", "switched"):
        if transition[name]:
            return name
    return "open"


def label(name, generation, generation_at_start, at_start):
    """With no transition open: had this run not opened one yet, or closed it?"""
    if name != "none":
        return name
    return "closed" if generation != generation_at_start else at_start


def journal(state_path):
    copies = []
    beside = os.path.splitext(state_path)[0] + ".encrypt-state"
    for path in (beside, state_path):
        try:
            with open(path, encoding="utf-8") as file:
                text = json.load(file)
        except FileNotFoundError:
            continue
        text = text.get("encrypt") if path == state_path else text.get("encrypt", text)
        if text:
            copies.append(text)
    if not copies:
        print("0 0 none")
        return
    newest = max(copies, key=lambda copy: copy["sequence"])
    print(newest["sequence"], newest["generation"], stage(newest["transition"]))


def written_journal(line):
    """(generation, stage) out of the write of the journal's own file; its beginning is enough."""
    match = TEXT.search(line)
    text = ast.literal_eval('b"' + match.group(1) + '"').decode("utf-8", "replace")
    generation = int(re.search(r'"generation": (\d+)', text).group(1))
    start = text.index('"transition": ') + len('"transition": ')
    return generation, stage(json.JSONDecoder().raw_decode(text, start)[0])


def profile(log, out, generation_at_start, at_start):
    counts = collections.Counter()
    calls, main, pending = [], None, None
    now = at_start
    with open(log, encoding="ascii", errors="replace") as file:
        for line in file:
            match = CALL.match(line)
            if not match:
                continue
            main = main or match.group(1)
            # strace counts for each thread by itself.
            if match.group(1) != main:
                continue
            name = match.group(2)
            counts[name] += 1
            calls.append([name, counts[name], now])
            if name == "write" and ".encrypt-state.encrypt-" in line.split(",", 1)[0]:
                pending = written_journal(line)
            elif name.startswith("rename") and ".encrypt-state.encrypt-" in line and line.rstrip().endswith("= 0"):
                now = label(pending[1], pending[0], int(generation_at_start), at_start)
    with open(out + ".new", "w", encoding="ascii") as file:
        json.dump(calls, file)
    os.replace(out + ".new", out)
    print(*(f"{state} {sum(1 for call in calls if call[2] == state)}" for state in STATES))


def read_table(path):
    try:
        with open(path, newline="", encoding="ascii") as file:
            return list(csv.DictReader(file, delimiter="\t"))
    except FileNotFoundError:
        return []


def load(folder, nodes, command, start):
    try:
        with open(os.path.join(folder, f"{nodes}-{command}-{start}.json"), encoding="ascii") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def remaining(calls, start):
    """What a run that begins at this state of the journal will do, told from one that began at the first: it looks, and does the rest."""
    rest, counts = [], collections.Counter()
    for name, _, state in calls:
        if state == "before" or STATES.index(state) >= STATES.index(start):
            counts[name] += 1
            rest.append([name, counts[name], start if state == "before" else state])
    return rest


def choose(folder, key, table, seed):
    """A state that has few kills so far, then a kind of system call, then one of those."""
    dice = random.Random(seed)
    nodes, command, start = key.split("-")
    likely, scale = [command, "rotate", "enable", "disable"], 1
    whole = next(filter(None, (load(folder, nodes, other, "before") for other in likely)), None)
    if not whole:
        # Not seen yet with so many nodes: each adds about as much as the first.
        whole, scale = next(filter(None, (load(folder, "1", other, "before") for other in likely))), int(nodes)
    calls = load(folder, nodes, command, start)
    if calls:
        scale = 1
    else:
        calls = remaining(whole, start)
    totals = collections.Counter(call[0] for call in calls)
    # A run begins by looking.
    looks = sum(1 for call in whole if call[2] == "before") * LOOKS // 100
    by_state = collections.defaultdict(list)
    for call in calls[looks:] or calls:
        by_state[call[2]].append(call)
    done = collections.Counter(row["state"] for row in read_table(table) if row["counted"] == "yes" and row["nodes"] == nodes)
    states = sorted(by_state)
    state = dice.choices(states, [1 / (1 + done[name]) for name in states])[0]
    name = dice.choice(sorted({call[0] for call in by_state[state]}))
    number = dice.choice([call[1] for call in by_state[state] if call[0] == name])
    print(name, number * scale, totals[name] * scale)


def summary(table):
    rows = read_table(table)
    counted = [row for row in rows if row["counted"] == "yes"]
    failed = [row for row in rows if row["result"] != "passed"]
    print(f"{len(rows)} kills in {len({row['sitting'] for row in rows})} sittings; {len(counted)} counted, "
          f"{len(rows) - len(counted)} before the first or after the last effect")
    print(f"counted: {sum(1 for row in counted if row['result'] == 'passed')} passed, "
          f"{sum(1 for row in counted if row['result'] != 'passed')} failed")
    for title, column, order in (("journal after the kill", "state", STATES), ("command", "command", None), ("nodes", "nodes", None),
                                 ("system call", "call", None), ("kill in a row", "row", None), ("commit", "commit", None)):
        figures = collections.Counter(row[column] for row in counted)
        names = order or sorted(figures)
        print(f"  {title:24}" + ", ".join(f"{name} {figures[name]}" for name in names))
    for row in failed:
        print("  FAILED: " + " ".join(f"{name}={value}" for name, value in row.items()))
    return 1 if failed or not rows else 0


COMMANDS = {"journal": journal, "profile": profile, "choose": choose, "summary": summary}
if len(sys.argv) < 3 or sys.argv[1] not in COMMANDS:
    sys.exit(__doc__)
sys.exit(COMMANDS[sys.argv[1]](*sys.argv[2:]))
