"""`dcu export`: what the store holds, delivered or not, as CSV, JSON lines or SQLite."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from dcu.cli.answers import answering, as_json, say
from dcu.cli.holding import Holding, Stored, holding_of, pages
from dcu.cli.work import config_option
from dcu.errors import OperatorFault
from dcu.headend import tables
from dcu.headend.collection import Collection, line
from dcu.headend.dating import Dating
from dcu.headend.holdings import Item
from dcu.reading import ClockState
from dcu.record import Batch, Stream

Sink = Callable[[list[Item]], None]
"""Takes the records of a page, ascending, of one stream."""

MOST_FILES: Final = 200
"""CSV files open at once."""


@click.command()
@config_option
@click.option("--csv", "csv_dir", type=click.Path(path_type=Path, file_okay=False), help="CSV files in that directory.")
@click.option("--jsonl", type=click.Path(path_type=Path, allow_dash=True), help="JSON lines into that file; - prints.")
@click.option("--sqlite", type=click.Path(path_type=Path), help="Tables of docs/head-end.md; adds to a file of those.")
@click.option("--stream", "names", multiple=True, type=click.Choice([s.value for s in Stream]), help="Repeatable.")
@click.option("--meter", "meters", multiple=True, metavar="SERIAL", help="Repeatable.")
@click.option("--since", metavar="DATE", help="Stored since then: 2026-11-24, or 2026-11-24T10:00; box's time zone.")
@as_json
@answering
def export(config_file: Path, names: tuple[str, ...], as_json: bool, since: str | None, **wanted: Any) -> None:
    """Write out what the store holds, delivered or not: of the running field process, or of a stopped one's file.

    What was stored while the time was not known counts as stored since any DATE. The box goes on undisturbed.
    """
    if sum(wanted[name] is not None for name in ("csv_dir", "jsonl", "sqlite")) != 1:
        raise click.UsageError("give one of --csv, --jsonl and --sqlite")
    config, holding = holding_of(config_file)
    try:
        since_s = _since(since, config.dcu.timezone)
        dating = _dating(holding) if wanted["csv_dir"] is not None else Dating()
        with _sink(wanted, config.dcu.timezone, dating) as sink:
            streams = [stream for stream in Stream if not names or stream.value in names]
            answer = _export(holding, streams, _Wish(frozenset(wanted["meters"]), since_s), sink)
    except OSError as fault:
        raise OperatorFault(f"cannot be written: {fault.strerror}", place=str(fault.filename or "")) from fault
    finally:
        holding.close()
    if str(wanted["jsonl"]) == "-":
        click.echo(json.dumps(answer) if as_json else _text(answer), err=True)
    else:
        say(answer, as_json=as_json, text=_text)


class _Wish:
    """Which records are wanted."""

    def __init__(self, meters: frozenset[str], since_s: int | None) -> None:
        self._meters = meters
        self._since_s = since_s

    def __call__(self, stored: Stored) -> bool:
        record = stored.item.record
        if self._meters and record.get("meter") not in self._meters:
            return False
        timeless = record.get("clock") == ClockState.UNTRUSTED.value
        return self._since_s is None or timeless or stored.at_s >= self._since_s


def _export(holding: Holding, streams: Iterable[Stream], wish: _Wish, sink: Sink) -> dict[str, Any]:
    counts: dict[str, int] = {}
    damaged: dict[str, list[int]] = {}
    for stream in streams:
        counts[stream.value] = 0
        for page in pages(holding, stream):
            items = [stored.item for stored in page.records if wish(stored)]
            if items:
                sink(items)
            counts[stream.value] += len(items)
            if page.damaged:
                damaged.setdefault(stream.value, []).extend(page.damaged)
    return {"running": holding.running, "records": counts, "damaged": damaged}


def _dating(holding: Holding) -> Dating:
    """What the box has said of the time, whichever records are wanted."""
    dating = Dating()
    for page in pages(holding, Stream.ALARM):
        for stored in page.records:
            dating.hear(stored.item.series.dcu, stored.item.record)
    return dating


def _text(answer: dict[str, Any]) -> str:
    lines = [f"{count} records of {name}" for name, count in answer["records"].items() if count]
    lines += [f"damaged, left out: {name} {', '.join(map(str, ids))}" for name, ids in answer["damaged"].items()]
    return "\n".join(lines) or "nothing held that is wanted"


def _since(text: str | None, zone: tzinfo) -> int | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        return int((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp())
    except (ValueError, OverflowError) as fault:
        raise OperatorFault(f"{text[:40]!r} is no date", place="--since", cure="as 2026-11-24") from fault


@contextmanager
def _sink(wanted: dict[str, Any], zone: tzinfo, dating: Dating) -> Iterator[Sink]:
    with ExitStack() as stack:
        if wanted["csv_dir"] is not None:
            yield _csv_sink(wanted["csv_dir"], zone, dating, stack)
        elif wanted["jsonl"] is not None:
            path: Path = wanted["jsonl"]
            out = sys.stdout.buffer if str(path) == "-" else stack.enter_context(_new(path))
            yield lambda items: out.writelines(map(line, items))
        else:
            collection = stack.enter_context(Collection(wanted["sqlite"]))
            yield lambda items: _collect(collection, items)


def _csv_sink(directory: Path, zone: tzinfo, dating: Dating, stack: ExitStack) -> Sink:
    directory.mkdir(parents=True, exist_ok=True)
    files: dict[str, BinaryIO] = {}

    def sink(items: list[Item]) -> None:
        for file, (header, octets) in tables.csv_files(items, zone, dating).items():
            if file not in files:
                if len(files) >= MOST_FILES:
                    raise OperatorFault(f"more than {MOST_FILES} layouts", place=str(directory), cure="use --jsonl")
                files[file] = stack.enter_context(_new(directory / file))
                files[file].write(header)
            files[file].write(octets)

    return sink


def _new(path: Path) -> BinaryIO:
    """A file that was not there. Raises OperatorFault."""
    try:
        return path.open("xb")
    except FileExistsError as fault:
        raise OperatorFault("is there already", place=str(path), cure="name another place") from fault


def _collect(collection: Collection, items: list[Item]) -> None:
    """Into a collection, each run of ids as one batch."""
    run: list[Item] = []
    for item in items:
        if run and item.id != run[-1].id + 1:
            collection.take(_batch(run))
            run = []
        run.append(item)
    collection.take(_batch(run))


def _batch(run: list[Item]) -> Batch:
    series = run[0].series
    layouts = {item.record["layout"]: item.columns for item in run if item.columns is not None}
    return Batch(series.dcu, series.epoch, series.stream, run[0].id, layouts, [dict(item.record) for item in run])
