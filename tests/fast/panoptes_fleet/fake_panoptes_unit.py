"""A fake of the tool on a unit: answers in the JSON of the real one, from a folder that the test can look into.

fake_panoptes_unit.py FOLDER VERB …
"""

import json
import sys
import time
from pathlib import Path

FOLDER, VERB = Path(sys.argv[1]), sys.argv[2]
PATH = FOLDER / "unit.json"
EXITS = {"deferred": 3, "rolled-back": 4, "busy": 5, "broken": 6, "failed": 1}


def release(index):
    return {
        "image": f"registry.test/panoptes-utils@{index}",
        "index": index,
        "tag": "latest",
        "platform": "linux/amd64",
    }


def attempt(state, verb, verdict, reason=""):
    number = len(state.setdefault("history", []))
    return {
        "id": f"{number}", "verb": verb, "at": time.time(), "by": "test", "verdict": verdict, "reason": reason,
        "changed": verdict in ("updated", "rolled-back"), "exit_code": EXITS.get(verdict, 0), "bytes": 1000000,
        "new": f"registry.test/panoptes-utils@{state['offers']}",
    }  # fmt: skip


def act(state):
    if VERB == "deploy":
        verdict = state.get("deploy", "updated")
        if state["release"] == state["offers"]:
            verdict = "unchanged"
        if verdict == "updated":
            state["previous"], state["release"] = state["release"], state["offers"]
            state["whole"] = state.get("whole_afterwards", True)
    elif VERB == "rollback":
        verdict = "rolled-back" if not state.get("previous") else "updated"
        state["release"] = state.get("previous") or state["release"]
        state["whole"] = True
    else:
        verdict = "unchanged"
    done = attempt(state, VERB, verdict, state.get("reason", ""))
    if verdict not in ("unchanged", "busy"):
        state["history"].append(done)
    time.sleep(state.get("seconds", 0))
    PATH.write_text(json.dumps(state))
    print(json.dumps(done))
    return done["exit_code"]


def main():
    with (FOLDER / "asked").open("a") as file:
        file.write(f"{VERB}\n")
    state = json.loads(PATH.read_text())
    if state.get("garbage"):
        print(state["garbage"])
        return 0
    if VERB == "status":
        time.sleep(state.get("slow", 0))
        whole = state.get("whole", True)
        problem = {"name": "services", "problem": "messaging-hub restarts", "remedy": "panoptes-unit repair"}
        answer = {
            "source": "registry.test/panoptes-utils:latest", "whole": whole, "problems": [] if whole else [problem],
            "release": release(state["release"]), "previous": None, "pinned": None, "locked": None, "quarantine": {},
            "last_check": {"at": time.time() - 7200, "index": state.get("heard", state["offers"]),
                           "source": "registry.test/panoptes-utils:latest"},
            "last_attempt": (state.get("history") or [None])[-1], "interrupted": False,
            "activity": {"kind": state.get("activity", "idle"), "detail": "fake"},
            "window": {"open": state.get("open", True)},
        }  # fmt: skip
        print(json.dumps({**answer, **state.get("also", {})}))
        return 0 if whole else 1
    if VERB == "doctor":
        print(json.dumps([
            {"name": "disk", "text": "4000.0 MB free on /var", "problem": state.get("disk", ""), "remedy": ""},
            {"name": "clock", "text": "in step", "problem": "", "remedy": ""},
            {"name": "power", "text": "Raspberry Pi 4", "problem": "", "remedy": ""},
        ]))  # fmt: skip
        return 0
    if VERB == "history":
        print(json.dumps(state.get("history", [])))
        return 0
    return act(state)


sys.exit(main())
