"""What each refusal means and what to do about it, in words: for `dcu journal explain` and docs/signing.md."""

from collections.abc import Mapping
from typing import Final

from dcu.command import Refusal

COUNTED: Final = frozenset(
    {
        *(
            Refusal.E_TOPIC,
            Refusal.E_RETAINED,
            Refusal.E_SIZE,
            Refusal.E_FLOOD,
            Refusal.E_JSON,
            Refusal.E_SHAPE,
            Refusal.E_CANON,
            Refusal.E_B64,
            Refusal.E_HDR,
        ),
        *(Refusal.E_KID, Refusal.E_ORDER, Refusal.E_KEY, Refusal.E_ALG, Refusal.E_SIG),
    }
)
"""Codes of what nobody is known to have signed: counted in `health`, never answered, when a document comes."""

MEANING: Final[Mapping[Refusal, tuple[str, str]]] = {
    Refusal.E_TOPIC: ("it came on another topic, or not with QoS 1", "publish to dcu/v1/<dcu>/cmd with QoS 1"),
    Refusal.E_RETAINED: (
        "it was retained",
        "publish with retain = 0: a retained command comes again at every reconnect",
    ),
    Refusal.E_SIZE: ("it is larger than a document of its kind may be", "8 KiB; policies and key documents 64 KiB"),
    Refusal.E_FLOOD: (
        "more documents came than anybody needs",
        "two a second in all, and one each half minute of a key; the same document may be sent again later",
    ),
    Refusal.E_JSON: ("it is not strict JSON", "UTF-8, no name twice, whole numbers up to 2^53, four levels at most"),
    Refusal.E_SHAPE: (
        "it is not an envelope",
        "exactly payload and 1 to 4 signatures of protected and signature, all text",
    ),
    Refusal.E_CANON: ("it is not in its one spelling", "sorted names, no spaces, printable ASCII"),
    Refusal.E_B64: ("a part is not base64url", "unpadded, and no stray bits at its end"),
    Refusal.E_HDR: (
        "a protected header is not as it has to be",
        "exactly alg, kid, typ, canonical; one typ, of its kind",
    ),
    Refusal.E_KID: ("a key is not known here", "is the box's key document the newest? `dcu keys` shows it"),
    Refusal.E_ORDER: ("its signatures are not in their order", "kids ascending, each once"),
    Refusal.E_KEY: (
        "a key does not count now",
        "revoked, out of its dates, twice under two names, or its document expired",
    ),
    Refusal.E_ALG: ("a header names another algorithm", "ES256 is the only one"),
    Refusal.E_SIG: (
        "a signature does not hold",
        "64 octets r || s, low s, over the protected header, a dot, the payload",
    ),
    Refusal.E_SCHEMA: (
        "a member is missing, too much, or not what it may be",
        "the payload's table in docs/signing.md",
    ),
    Refusal.E_TARGET: ("it is for another box, or from another head-end", "dcu and iss"),
    Refusal.E_JID: ("it was signed for another journal", "the box's store was replaced: sign anew for its epoch"),
    Refusal.E_ID_REUSE: ("its id was used for something else", "a new id for every document"),
    Refusal.E_QUORUM: (
        "it is not signed by those who may",
        "the roles of that operation, by people who have nobody in common",
    ),
    Refusal.E_VERSION: ("its version is not above the last one", "one above the version in force"),
    Refusal.E_CLOCK: (
        "the box does not know what time it is, or has not heard its meters' clocks since it started",
        "`dcu clock` says why; nothing is disconnected meanwhile",
    ),
    Refusal.E_EARLY: ("its time has not begun", "iat, nbf, and the clocks"),
    Refusal.E_EXPIRED: ("its time is over", "sign it anew"),
    Refusal.E_TTL: ("it lives longer than four hours, or not at all", "exp - iat is 1 to 14400"),
    Refusal.E_LEASE: (
        "it does not name a lease that the box gives out now",
        "the lease of its newest receipt of kind lease",
    ),
    Refusal.E_SEQ: (
        "its sequence number was used, or a later one was, or it is far too high",
        "above all earlier ones of that meter, up to 2^42",
    ),
    Refusal.E_METER: (
        "the meter is not here, or is not the one that is meant",
        "`dcu meters`; its serial, relay and mode",
    ),
    Refusal.E_FROZEN: ("disconnects are frozen", "two people unfreeze, or a day passes"),
    Refusal.E_LOCKED: ("somebody at the pole has locked it", "they unlock it, or three days pass"),
    Refusal.E_PROTECTED: ("the consumer is protected", "medical or essential supply is not disconnected from afar"),
    Refusal.E_NOTICE: (
        "the evidence for its reason is missing, too young or too old",
        "notice and case, or message, ledger, witness",
    ),
    Refusal.E_NOT_LIVE: ("prepaid is not live in that area", "the signed policy says where; nothing else can"),
    Refusal.E_NOT_PREPAID: (
        "the meter itself says that it is post-paid",
        "its payment mode, or the policy's list of models",
    ),
    Refusal.E_AREA: ("command, configuration and policy name different areas", "all three agree, or it is refused"),
    Refusal.E_GRACE: ("grace or emergency credit is not used up", "wait until it is"),
    Refusal.E_POLICY: (
        "no policy in force allows it",
        "a policy that is valid now, of the version that the command names",
    ),
    Refusal.E_WINDOW: ("nobody is disconnected at that hour or on that day", "the policy's hours and closed days"),
    Refusal.E_PERMIT: ("no permit covers it", "a permit of that day, box and profile that is not used up"),
    Refusal.E_CAP: ("too many were disconnected, or the last one just now", "the policy's caps and spacing"),
    Refusal.E_STATE: (
        "something is not in the state that it needs",
        "expect, or the command that was to be taken back",
    ),
    Refusal.E_UNREACHABLE: ("the meter does not answer", "`dcu status` at the box"),
    Refusal.E_STORE: ("the box cannot keep it", "its card is full, failing, or damaged"),
}
"""(what it means, what to look at) by code."""


def meaning(code: str) -> str:
    """What a code means, for the middle of a sentence; the code itself where nobody knows."""
    for refusal, (words, _) in MEANING.items():
        if refusal.value == code:
            return words
    return code


def cure(code: str) -> str:
    """What to look at; empty where nobody knows."""
    return next((look for refusal, (_, look) in MEANING.items() if refusal.value == code), "")
