"""The command line of panoptes-unit; argparse, because the unit has the standard library and little else."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Union

from .deploy import verdicts
from .deploy.outcome import Outcome, current_user
from .deploy.own_files import settings_from
from .deploy.run import Run
from .deploy.run_lock import exclusive
from .deploy.state import State, Store
from .documents import printable
from .errors import BROKEN, FAILED, OK, ConfigurationError, RootError, UnitError, plainly
from .report import Report, megabytes, short, stamp
from .settings import DEFAULT_PATH, Settings, load

if TYPE_CHECKING:
    from .deploy.transaction import Transaction

# A hundred years; without a limit, a lock lasts until `unlock`.
LOCK_HOURS = 876_000
DESCRIPTION = """\
Keeps this unit on one proved release of panoptes-utils.

An update is one transaction: resolve the tag, check room and clock, fetch while the services run, ask the
observing lock, switch, prove that the services work on this unit, commit. Whatever fails after the switch is
undone from the disk, without the network, and the image goes into quarantine."""

EXIT_CODES = "exit codes:\n" + "\n".join(f"  {code}  {text}" for code, text in verdicts.EXIT_CODES.items())

EXAMPLES = {
    "deploy": """\
  panoptes-unit deploy                                  the newest release, unless the unit observes
  panoptes-unit deploy --force                          although it waits for an idle state, or is pinned
  panoptes-unit deploy --tag 0.2.0                      another release of the same image
  panoptes-unit deploy --from /media/stick/bundle       from a stick, without a network""",
    "update": """\
  panoptes-unit update                                  what the timer does; outside the window it waits
  systemctl list-timers panoptes-update.timer           when the timer does it next""",
    "rollback": """\
  panoptes-unit rollback                                the release before; the one left goes into quarantine
  panoptes-unit rollback --force                        although the unit observes""",
    "recover": """\
  panoptes-unit recover                                 nothing to do where nothing was interrupted""",
    "status": """\
  panoptes-unit status                                  exit code 1 where the unit does not work
  panoptes-unit status --json | jq .release.image""",
    "verify": """\
  panoptes-unit verify                                  exit code 7 where the disk has spoiled something
  panoptes-unit verify --json | jq .damaged
  systemctl list-timers panoptes-verify.timer           when the unit does it by itself""",
    "repair": """\
  panoptes-unit repair --dry-run                        what is wrong, and what would be tried
  panoptes-unit repair                                  from a damaged unit to one that was proved
  panoptes-unit repair --new-store                      although other people's containers are in the engine's store""",
    "heal": """\
  panoptes-unit heal                                    what the timer does every five minutes
  systemctl list-timers panoptes-health.timer           when the unit does it next
  jq . /run/panoptes/health.json                        what it found last""",
    "history": """\
  panoptes-unit history                                 the last 20 attempts, the newest at the end
  panoptes-unit history -n 1 --json                     the last one, for a program""",
    "pin": """\
  panoptes-unit pin --reason "campaign until March"
  panoptes-unit unpin""",
    "unpin": """\
  panoptes-unit unpin && panoptes-unit deploy           follow the source again, now""",
    "lock": """\
  panoptes-unit lock --hours 48 --reason "visitors"
  panoptes-unit unlock""",
    "unlock": """\
  panoptes-unit unlock""",
    "clear": """\
  panoptes-unit status                                  shows what is in quarantine, and why
  panoptes-unit clear eef3c1fc2368 && panoptes-unit deploy""",
    "backup": """\
  panoptes-unit backup /media/stick
  panoptes-unit backup /media/stick --keep 7""",
    "doctor": """\
  panoptes-unit doctor                                  exit code 1 where it finds a problem
  panoptes-unit doctor --json""",
}


def main(arguments: Optional[List[str]] = None) -> int:
    """Run one verb; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("panoptes-unit: stopped", file=sys.stderr)
        return FAILED
    except (UnitError, OSError) as error:
        if isinstance(error, (RootError, OSError)):
            error = _from_system(error, options.verb)
        if options.json:
            answer = {"verdict": verdicts.FAILED, "changed": False, "reason": str(error), "exit_code": error.exit_code}
            print(json.dumps(answer))
        return _failed(error)


def _from_system(error: Union[RootError, OSError], verb: str) -> UnitError:
    if isinstance(error, RootError) or (isinstance(error, PermissionError) and os.geteuid() != 0):
        return UnitError(f"needs root: sudo panoptes-unit {verb}")
    return UnitError(plainly(error))


def _failed(error: UnitError) -> int:
    print(f"panoptes-unit: {error}", file=sys.stderr)
    return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="panoptes-unit",
        description=DESCRIPTION,
        epilog=f"{EXIT_CODES}\n\nEach verb has examples: panoptes-unit VERB --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="answer in JSON on standard output")
    common.add_argument("--settings", type=Path, default=DEFAULT_PATH, metavar="FILE", help=f"default {DEFAULT_PATH}")
    common.add_argument("--quiet", action="store_true", help="no progress")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    def verb(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(
            name,
            parents=[common],
            help=text,
            description=text,
            epilog=f"examples:\n{EXAMPLES[name]}\n\n{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run, verb=name)
        return made

    for name, text in (
        ("deploy", "bring the unit to the release that its source names (what Ansible calls)"),
        ("update", "the same, but only inside the daytime window (what the timer calls)"),
    ):
        made = verb(name, _deploy, text)
        made.add_argument("--tag", default="", help="another tag of the same image")
        made.add_argument(
            "--from",
            dest="bundle",
            default="",
            metavar="PATH",
            help="a bundle: what `skopeo copy --all` wrote to dir:PATH, an OCI layout, or `docker save`",
        )
        made.add_argument(
            "--force", action="store_true", help="pass lock, window, pin and quarantine, never a signature; is recorded"
        )
    made = verb("rollback", _rollback, "go back to the release before, from the disk")
    made.add_argument("--force", action="store_true", help="pass the lock; is recorded")
    made = verb("recover", _recover, "finish or undo what a power cut interrupted (runs at boot)")
    made.add_argument(
        "--hand-over", default="", metavar="SERVICE", help="leave a repair that was cut short to a service of systemd"
    )
    verb("status", _status, "what runs, whether it works, and what holds up an update")
    verb("verify", _verify, "read the running image from the disk, and compare it bit for bit with what it was")
    made = verb("repair", _repair, "bring a damaged unit back to work, on the release that it has, by the mildest way")
    made.add_argument("--dry-run", action="store_true", help="only say what is wrong, and what would be tried")
    made.add_argument(
        "--new-store",
        action="store_true",
        help="Docker Engine may begin a new store, although it holds more than this unit's; the old one is kept beside",
    )
    made.add_argument("--force", action="store_true", help="pass the lock, also while the unit observes; is recorded")
    made = verb("heal", _heal, "look whether the services work, and repair what twice in turn does not (for the timer)")
    made.add_argument(
        "--hand-over", default="", metavar="SERVICE", help="leave the repair to a service of systemd, and start that"
    )
    made.add_argument("--at-once", action="store_true", help="it was looked at already: repair what does not work")
    made = verb("history", _history, "every attempt: when, from, to, how much, how long away, verdict, reason")
    made.add_argument("-n", "--lines", type=int, default=20, help="the last N attempts (20)")
    made = verb("pin", _pin, "stay on the current release; it is never pruned")
    made.add_argument("--reason", default="", help="for the next person")
    verb("unpin", _unpin, "follow the source again")
    made = verb("lock", _lock, "no restarts of services by updates until `unlock`")
    made.add_argument("--reason", default="", help="for the next person")
    made.add_argument("--hours", type=float, default=0.0, help="ends by itself after this many hours")
    verb("unlock", _unlock, "updates may restart services again")
    made = verb("clear", _clear, "take a release out of quarantine, to be tried again")
    made.add_argument("digest", help="as `status` shows it; the first digits are enough; or `all`")
    made = verb("backup", _backup, "keep this unit's small state in a folder (what the nightly timer calls)")
    made.add_argument("folder", help="must be there, for instance a USB stick that is mounted")
    made.add_argument("paths", nargs="*", help="default: the configuration and what this tool knows")
    made.add_argument("--keep", type=int, default=30, help="how many backups are left there (30); 0 for all")
    verb("doctor", _doctor, "look at all that makes a unit whole, or holds up its updates, with the remedy")
    return parser


def _deploy(options: argparse.Namespace) -> int:
    return _transact(options, lambda one: _deployed(one, options))


def _deployed(transaction: Transaction, options: argparse.Namespace) -> Outcome:
    """A release whose image is known to be damaged is no release that is already there."""
    repaired = _repaired_if_damaged(transaction.run)
    outcome = transaction.deploy(options.tag, options.bundle)
    return repaired if repaired is not None and outcome.verdict == verdicts.UNCHANGED else outcome


def _repaired_if_damaged(run: Run) -> Optional[Outcome]:
    if not (Path(run.settings.state) / "verified.json").exists():
        return None
    from .health import verify  # only here: each night's look for news does without

    found = verify.last(run.settings)
    if found is None or not found["damages"]:
        return None
    from .health.repair import repair

    run.report.step("repair", verify.damage_told(found))
    try:
        return repair(replace(run, outcome=Outcome.begun("repair", run.outcome.by)))
    except UnitError as error:  # a newer release may still be had
        run.report.step("repair", str(error))
        return None


def _rollback(options: argparse.Namespace) -> int:
    return _transact(options, lambda run: run.rollback())


def _recover(options: argparse.Namespace) -> int:
    code = _transact(options, lambda one: _recovered(one, options.hand_over))
    return code if code == BROKEN else OK


def _recovered(transaction: Transaction, hand_over: str) -> Outcome:
    outcome = transaction.recover()
    if outcome.verb != "repair":
        return outcome
    from .health.healing import start_service  # only here: it is for the day of damage
    from .health.repair import repair

    if hand_over and start_service(transaction.run, hand_over):
        return outcome

    transaction.run = replace(transaction.run, outcome=Outcome.begun("repair", transaction.run.outcome.by))
    return repair(transaction.run)


def _repair(options: argparse.Namespace) -> int:
    from .health.repair import repair  # only here: it is for the day of damage

    return _transact(options, lambda one: repair(one.run, options.new_store, options.dry_run))


def _heal(options: argparse.Namespace) -> int:
    from .health import healing, record  # only here: each night's look for news does without

    report = Report(options.quiet)
    settings = settings_from(options.settings, told=lambda text: report.step("settings", text))
    run = Run.on_this_unit(settings, report, healing.VERB, healing.BY, settings_path=options.settings)
    healed = healing.heal(run, hand_over=options.hand_over, at_once=options.at_once)
    if options.json:
        outcome = healed.outcome.as_dict() if healed.outcome else None
        print(json.dumps({**healed.record.as_dict(), "busy": healed.is_busy, "outcome": outcome}))
    elif healed.is_busy:
        print("another run is at work: nothing to say now")
    elif not healed.record.whole or healed.outcome or current_user() != "timer":  # a log is on the card, too
        if healed.outcome:
            _print_row("repair", _sentence(healed.outcome))
        _print_row("health", record.told(healed.record))
        for one in healed.record.problems:
            _print_row("PROBLEM", f"{one['name']}: {one['problem']}")
    if healed.outcome and healed.outcome.exit_code:
        return healed.outcome.exit_code
    return OK if healed.is_busy or healed.record.whole else FAILED


def _transact(options: argparse.Namespace, act: Callable[[Transaction], Outcome]) -> int:
    from .deploy.transaction import Transaction  # only here: a look every few minutes does without

    report, force = Report(options.quiet), getattr(options, "force", False)
    settings = settings_from(options.settings, told=lambda text: report.step("settings", text))
    run = Run.on_this_unit(settings, report, options.verb, current_user(), force, options.settings)
    transaction = Transaction(run)
    with run.signals.handled():  # until the answer is out
        try:
            outcome = act(transaction)
        except (UnitError, KeyboardInterrupt) as error:
            run.signals.hold()
            if not transaction.outcome.verdict:  # it failed before the run had begun
                raise
            if options.json:
                print(json.dumps(transaction.outcome.as_dict()))
            return _failed(error if isinstance(error, UnitError) else UnitError(transaction.outcome.reason))
        run.signals.hold()
        print(json.dumps(outcome.as_dict()) if options.json else _sentence(outcome), flush=True)
    return outcome.exit_code


def _sentence(outcome: Outcome) -> str:
    gaps = ", ".join(f"{name} away for {gap:.1f} s" for name, gap in outcome.gap_s.items())
    text = outcome.verdict
    if outcome.verdict in (verdicts.UPDATED, verdicts.INSTALLED):
        text += f": {short(outcome.new)}, {megabytes(outcome.bytes)} downloaded"
        text += f"; {gaps}" if gaps else ""
    return printable(f"{text}: {outcome.reason}" if outcome.reason else text)


def _status(options: argparse.Namespace) -> int:
    from .health import verify  # only here: each night's look for news does without
    from .health.status import status
    from .health.wholeness import decision_told

    answer = status(load(options.settings))
    code = OK if answer["whole"] else FAILED
    if options.json:
        print(json.dumps(answer))
        return code
    release, previous = answer["release"], answer["previous"]
    rows = [
        ("source", answer["source"]),
        ("release", f"{short(release['image'])}  {release['image']}" if release else _no_release(answer)),
        ("previous", short(previous["image"]) if previous else "none"),
    ]
    if answer["services"] is None:
        rows.append(("services", answer["engine_problem"]))
    for item in answer["services"] or ():
        rows.append((item["service"], _service_state(item)))
    for digest, entry in answer["quarantine"].items():
        rows.append(("quarantine", f"{digest[7:19]}  since {stamp(entry['at'])} UTC: {entry['reason']}"))
    for name in ("pinned", "locked"):
        if answer[name]:
            rows.append((name, decision_told(answer[name])))
    if answer["interrupted"]:
        rows.append(("interrupted", "an update was cut short: panoptes-unit recover"))
    window = answer["window"]
    hours = f"{window['from_h']:g} to {window['to_h']:g} h solar time, now {window['solar_hour']:.1f} h"
    rows.append(("state", f"{answer['activity']['kind']}: {answer['activity']['detail']}"))
    rows.append(("window", f"{'open' if window['open'] else 'closed'}: {hours}"))
    if answer["last_check"]:
        rows.append(("checked", answer["last_look"]))
    last = answer["last_attempt"]
    if last:
        one = Outcome.from_dict({"verb": "?", "at": 0.0, **last})
        rows.append(("last", f"{stamp(one.at)} UTC {one.verb}: {one.verdict} {one.reason}".rstrip()))
        if one.sources or one.resumed:
            rows.append(("download", _download_told(one)))
        if one.kept:
            rows.append(("kept", f"configuration files that it replaced are in {one.kept}"))
    rows.append(("health", answer["health_told"]))
    if release:
        rows.append(("verified", verify.last_told(answer["verified"])))
    rows += [("PROBLEM", f"{one['name']}: {one['problem']}") for one in answer["problems"]]
    for name, text in rows:
        _print_row(name, text)
    return code


def _no_release(answer: Dict[str, Any]) -> str:
    return answer.get("release_problem") or "none: panoptes-unit deploy"


def _verify(options: argparse.Namespace) -> int:
    from .health import verify  # only here: each night's look for news does without

    found = verify.verify(load(options.settings), Report(options.quiet))
    if options.json:
        print(json.dumps(found.as_dict()))
        return found.exit_code
    for damage in found.damaged:
        print(printable(verify.told(damage)))
    amount = f"{found.layers} layers, {megabytes(found.bytes)} read in {found.seconds:.0f} s"
    remedy = f": {verify.REMEDY}" if found.damaged else ""
    print(f"{found.verdict}: {short(found.image)}, {amount}{remedy}")
    return found.exit_code


def _service_state(item: Dict[str, Any]) -> str:
    if item["status"] == "absent":
        return "has no container: panoptes-unit repair"
    state = (item["health"] if item["status"] == "running" else "") or item["status"]
    return state if item["is_release"] else f"{state}, but on {short(item['image'])}"


def _print_row(name: str, text: str) -> None:
    lines = textwrap.wrap(printable(text), 100, break_long_words=False, break_on_hyphens=False) or [""]
    print(f"{name:<16} {lines[0]}")
    for line in lines[1:]:
        print(f"{'':<16} {line}")


def _history(options: argparse.Namespace) -> int:
    lines = Store(Path(load(options.settings).state)).history()[-options.lines :]
    if options.json:
        print(json.dumps(lines))
        return OK
    if not lines:
        print("no attempt yet")
    for line in lines:
        one = Outcome.from_dict({"verb": "?", "at": 0.0, **line})
        away = max(one.gap_s.values(), default=0.0)
        forced = " --force" if one.forced else ""
        print(printable(f"{stamp(one.at)}  {one.verb}{forced} by {one.by}: {one.verdict}"))
        moved = f"{short(one.old) or 'nothing'} → {short(one.new) or '?'}"
        times = f"away {away:.1f} s, took {one.seconds:.0f} s"
        print(printable(f"    {moved}, {megabytes(one.bytes)}, {times}"))
        if one.sources or one.resumed:
            print(printable(f"    {_download_told(one)}"))
        for part in textwrap.wrap(printable(one.reason), 100):
            print(f"    {part}")
        if one.kept:
            print(printable(f"    configuration files that were replaced: {one.kept}"))
    return OK


def _download_told(outcome: Outcome) -> str:
    """How a release came."""
    parts = ", ".join(f"{megabytes(count)} from {name}" for name, count in sorted(outcome.sources.items()))
    went_on = f"; went on {outcome.resumed} times where it had ended" if outcome.resumed else ""
    return f"fetched in {outcome.fetch_s:.0f} s: {parts or 'nothing'}{went_on}"


def _backup(options: argparse.Namespace) -> int:
    from .machine import backup  # only here: each night's look for news does without

    if options.keep < 0:
        raise ConfigurationError(f"--keep must not be negative, is {options.keep}")
    archive, manifest = backup.make_dated(options.folder, options.paths or list(backup.PATHS), options.keep)
    return _told(options, f"{len(manifest['files'])} files, verified, in {archive}", archive=str(archive))


def _doctor(options: argparse.Namespace) -> int:
    from .health import wholeness

    missing = wholeness.missing_modules()
    if missing:
        raise UnitError(f"packages are missing: apt-get install {' '.join(missing)}")
    found = wholeness.findings(wholeness.Seen(load(options.settings)))
    bad = [finding for finding in found if finding.problem]
    if options.json:
        print(json.dumps([finding._asdict() for finding in found]))
    else:
        for finding in found:
            mark = "PROBLEM" if finding.problem else "held" if finding.held else "ok"
            print(f"{mark:<8} {finding.name:<10} {printable(finding.problem or finding.text)}")
    return FAILED if bad else OK


@contextmanager
def _changing(options: argparse.Namespace) -> Iterator[State]:
    """The state, to be changed under the run's lock and saved."""
    settings: Settings = load(options.settings)
    store = Store(Path(settings.state))
    with exclusive(store.folder):
        state = store.load()
        yield state
        store.save(state)


def _told(options: argparse.Namespace, sentence: str, **facts: object) -> int:
    print(json.dumps({"changed": True, "reason": sentence, **facts}) if options.json else sentence)
    return OK


def _pin(options: argparse.Namespace) -> int:
    with _changing(options) as state:
        if state.current is None:
            raise UnitError("there is no release to pin yet: panoptes-unit deploy")
        state.pinned = _entry(options, release=state.current)
    return _told(options, f"pinned to {short(state.current['image'])}")


def _unpin(options: argparse.Namespace) -> int:
    with _changing(options) as state:
        state.pinned = None
    return _told(options, "not pinned")


def _lock(options: argparse.Namespace) -> int:
    if not 0 <= options.hours <= LOCK_HOURS:
        raise ConfigurationError(f"--hours must be between 0 and {LOCK_HOURS}, is {options.hours:g}")
    until = time.time() + options.hours * 3600 if options.hours else None
    with _changing(options) as state:
        state.locked = _entry(options, until=until)
    return _told(options, f"locked until {stamp(until)} UTC" if until else "locked until panoptes-unit unlock")


def _unlock(options: argparse.Namespace) -> int:
    with _changing(options) as state:
        state.locked = None
    return _told(options, "not locked")


def _clear(options: argparse.Namespace) -> int:
    with _changing(options) as state:
        wanted = options.digest[7:] if options.digest.startswith("sha256:") else options.digest
        found = [digest for digest in state.quarantine if wanted == "all" or digest[7:].startswith(wanted)]
        if not found and wanted != "all":
            error = ConfigurationError(f"nothing in quarantine begins with {options.digest!r}: panoptes-unit status")
            raise error
        for digest in found:
            del state.quarantine[digest]
            state.interrupted.pop(digest, None)
        if wanted == "all":
            state.interrupted, state.deferrals = {}, {}
    return _told(options, f"{len(found)} out of quarantine", digests=found)


def _entry(options: argparse.Namespace, **facts: object) -> Dict[str, Any]:
    return {"at": round(time.time()), "by": current_user(), "reason": options.reason, **facts}
