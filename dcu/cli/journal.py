"""`dcu journal`: what was commanded and what became of it, from the hash-chained journal of the box."""

import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from dcu.cli.answers import EXIT_FAILED, answering, as_json, say
from dcu.cli.evidence import Known, entries, known_of
from dcu.cli.work import config_option
from dcu.errors import OperatorFault, ReplyMalformed
from dcu.headend.chain import GENESIS, Entry, walk
from dcu.headend.records import lines_of
from dcu.headend.story import story, told_entry
from dcu.relay.canonical import to_base64url

SHOWN: Final = 20


@click.group(invoke_without_command=True)
@config_option
@click.option("--verify", is_flag=True, help="Walk the whole chain: nothing was changed, taken out or put in.")
@click.option("--jsonl", type=click.Path(path_type=Path), help="All of it into that file, for `dcu headend trace`.")
@click.option("--last", default=SHOWN, show_default=True, type=click.IntRange(1), help="How many entries are shown.")
@as_json
@click.pass_context
@answering
def journal(
    ctx: click.Context, config_file: Path, *, verify: bool, jsonl: Path | None, last: int, as_json: bool
) -> None:
    """What was commanded, by whom, and what became of it; of the running box, or of its file when it is stopped.

    `dcu journal --verify` proves that the journal is one unbroken chain; that it is the one that the head-end knows is
    proven there, by `dcu headend trace`. `dcu journal explain ID` tells the story of one command.
    """
    ctx.obj = config_file
    if ctx.invoked_subcommand is not None:
        return
    with known_of(config_file) as known:
        if verify:
            _verify(known, as_json=as_json)
        elif jsonl is not None:
            _export(known, jsonl, as_json=as_json)
        else:
            shown = deque(entries(known), maxlen=last)
            answer = [_plain(entry) for entry in shown]
            say(answer, as_json=as_json, text=lambda _: "\n".join(map(told_entry, shown)) or "nothing was decided yet")


@journal.command()
@click.argument("name", metavar="ID")
@as_json
@click.pass_obj
@answering
def explain(config_file: Path, name: str, *, as_json: bool) -> None:
    """The story of one command, permit or other document, by its ID, in plain sentences."""
    with known_of(config_file) as known:
        found = [entry for entry in entries(known) if entry.text("cmd_id") == name]
        if not found:
            raise OperatorFault(f"{name} is not in the journal", cure="`dcu journal --last 100` shows what is")
        stories = _stories(known, name, found)
    answer = {"id": name, "story": stories, "entries": [_plain(entry) for entry in found]}
    say(answer, as_json=as_json, text=lambda _: "\n\n".join("\n".join(lines) for lines in stories))


def _stories(known: Known, name: str, found: list[Entry]) -> list[list[str]]:
    """One of each head-end that used that id."""
    who = _who(known)
    stories = []
    for iss in dict.fromkeys(entry.text("iss") for entry in found):
        own = [entry for entry in found if entry.text("iss") == iss]
        kept = known.command(iss, name)
        stories.append(list(story(own, kept["payload"] if kept else b"", who)))
    return stories


def _who(known: Known) -> Callable[[str], str]:
    """The people behind kids, by the key document in force; one who is not in it any more, by the kid."""
    people = {row["kid"]: row["person"] for row in known.authority()["keys"]}
    return lambda kid: f"{people[kid]} ({kid})" if kid in people else kid


def _verify(known: Known, *, as_json: bool) -> None:
    head = known.journal(0)
    try:
        last, digest = deque(walk(entries(known)), maxlen=1).pop() if head["head"] else (0, GENESIS)
        if last < head["head"]:
            raise ReplyMalformed("the journal ends too early", place=f"journal entry {last + 1}")
    except ReplyMalformed as fault:
        broken = str(fault)
        facts: dict[str, Any] = {"dcu": head["dcu"], "jid": head["epoch"], "ok": False, "fault": broken}
        say(facts, as_json=as_json, text=lambda _: f"BROKEN: {broken}")
        sys.exit(EXIT_FAILED)
    facts = {"dcu": head["dcu"], "jid": head["epoch"], "ok": True, "last": last, "chain": to_base64url(digest)}
    words = f"journal {head['epoch']} of {head['dcu']}: {last} entries, one unbroken chain"
    say(facts, as_json=as_json, text=lambda _: f"{words}; its head is {facts['chain']}")


def _export(known: Known, target: Path, *, as_json: bool) -> None:
    page, count = known.journal(0), -1
    try:
        with target.open("w", encoding="ascii") as file:
            for line in lines_of(page["dcu"], page["epoch"], entries(known)):
                file.write(f"{line}\n")
                count += 1
    except OSError as fault:
        raise OperatorFault(f"cannot be written: {fault.strerror}", place=str(target)) from fault
    say({"file": str(target), "entries": count}, as_json=as_json, text=lambda a: f"{target}: {a['entries']} entries")


def _plain(entry: Entry) -> dict[str, Any]:
    return {"n": entry.n, "at": entry.at_s, "kind": entry.kind, **entry.told, "chain": to_base64url(entry.digest)}
