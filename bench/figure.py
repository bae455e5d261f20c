"""One measured figure, and how it is judged."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes:
        name: what was measured.
        value: how much.
        unit: of what; of ratios, what over what.
        target: in words, "stated" where there is none.
        ok: whether the target holds.
    """

    name: str
    value: float
    unit: str
    target: str
    ok: bool


def at_least(name: str, value: float, least: float, unit: str, digits: int = 2) -> Figure:
    """A figure with a floor."""
    return Figure(name, round(value, digits), unit, f">= {least:g}", value >= least)


def at_most(name: str, value: float, most: float, unit: str, digits: int = 2) -> Figure:
    """A figure with a ceiling."""
    return Figure(name, round(value, digits), unit, f"<= {most:g}", value <= most)


def stated(name: str, value: float, unit: str, digits: int = 2) -> Figure:
    """A figure that is told and not judged."""
    return Figure(name, round(value, digits), unit, "stated", ok=True)
