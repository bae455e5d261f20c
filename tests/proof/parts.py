"""The parts, by the names under which they are run; each is loaded when it is."""

from collections.abc import Callable
from importlib import import_module

from tests.proof.run import Line, Run

WHERE = {
    "mutants": "mutants:mutants",
    "flips": "mutants:flips",
    "wycheproof-ecdsa": "vectors:ecdsa",
    "wycheproof-jws": "vectors:jose",
    "joserfc": "vectors:second_opinion",
    "kill-9": "crash:kill_9",
    "holiday": "city:holiday",
    "caps": "city:caps",
    "stolen-keys": "city:stolen",
    "clocks": "clocks:matrix",
    "legitimate-day": "day:legitimate",
    "latency": "latency:latency",
    "hostile-uplink": "hostile:hostile",
    "mutation": "mutation:mutation",
}


def part(name: str) -> Callable[[Run], list[Line]]:
    """The part of that name."""
    module, function = WHERE[name].split(":")
    return getattr(import_module(f"tests.proof.{module}"), function)
