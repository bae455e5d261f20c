"""What came of a poll, on its way into the store: committed, or kept in the store's memory while nothing can be stored.

What the memory keeps is not asked again as long as it waits there. What becomes of it then, the store knows: what a
meter's book has is read anew when one of its works waits no more.
"""

from collections.abc import Sequence

from dcu.errors import ReplyMalformed, StoreDown
from dcu.field.book import MeterBook, Wait
from dcu.field.parts import Writing
from dcu.ports import Store, Transaction


def commit(works: Sequence[Writing], book: MeterBook, store: Store) -> list[ReplyMalformed | None]:
    """All in one transaction; each by itself where one of them says more than a record can carry, or in the memory.

    Returns:
        Of each work what is wrong with it, so that nothing of it is stored; None where it is stored, or waits.

    Raises:
        StoreFault: nobody knows what is stored.
    """

    def commit(tx: Transaction) -> None:
        for each in works:
            each.run(tx)

    if any(works):
        try:
            store.transact(commit)
        except StoreDown:
            _keep(works, book, store)
            return [None for _ in works]
        except ReplyMalformed:
            return [_alone(each, book, store) for each in works]
    for each in works:
        each.committed()
    return [None for _ in works]


def _alone(work: Writing, book: MeterBook, store: Store) -> ReplyMalformed | None:
    try:
        if work:
            store.transact(work.run)
    except StoreDown:
        _keep([work], book, store)
    except ReplyMalformed as fault:
        return fault
    else:
        work.committed()
    return None


def _keep(works: Sequence[Writing], book: MeterBook, store: Store) -> None:
    """Each by itself, so that one which cannot be stored after all takes no other with it."""
    book.forget()
    book.waiting += [Wait(store.keep(each.run, each.octets), each.settled) for each in works if each]
