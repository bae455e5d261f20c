"""The cursor's logic: only the contiguous prefix over 0x00, whatever order answers come in."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dcu.record import Stream
from dcu.uplink.backoff import Backoff
from dcu.uplink.window import Window
from dcu.wire.fields import MAX_ID

A, P = Stream.ALARM, Stream.PROFILE


def window(size=8):
    made = Window(size, lambda: Backoff(300.0, lambda low, high: high))
    made.begin(65535)
    return made


def test_acknowledgements_out_of_order_move_the_cursor_over_the_prefix_only():
    w = window()
    for mid in (1, 2, 3):
        w.sent(mid, P, mid * 10 - 9, mid * 10, 0.0)
    w.acknowledged(3, 0, 1.0)
    w.acknowledged(1, 0, 1.0)
    assert w.take_confirmed() == {P: 10}
    assert w.take_confirmed() == {}
    w.acknowledged(2, 0, 1.0)
    assert w.take_confirmed() == {P: 30}
    assert w.after(1.0) == {P: 30}


def test_0x10_holds_its_stream_and_what_follows_it_is_offered_again():
    w = window()
    for mid in (1, 2, 3):
        w.sent(mid, P, mid, mid, 0.0)
    w.sent(4, A, 1, 5, 0.0)
    w.acknowledged(1, 0, 1.0)
    held = w.acknowledged(2, 0x10, 1.0)
    assert (held.stream, held.first, held.code, held.wait_s, held.again) == (P, 2, 0x10, 2.0, False)
    assert w.acknowledged(3, 0, 1.0) is None  # behind the hold: says nothing
    w.acknowledged(4, 0, 1.0)
    assert w.take_confirmed() == {P: 1, A: 5}
    assert w.after(2.9) == {P: MAX_ID, A: 5}
    assert w.retry_s(2.0) == 1.0
    assert w.after(3.0) == {P: 1, A: 5}  # the wait is over: record 2 may be asked for again


def test_a_held_stream_is_tried_with_one_batch_and_waits_longer_each_time():
    w = window()
    waits = []
    now = 0.0
    for mid in range(1, 12):
        w.sent(mid, P, 1, 5, now)
        assert w.after(now) == {P: MAX_ID if mid > 1 else 5}
        held = w.acknowledged(mid, 0x87, now)
        assert held.again == (mid > 1)
        waits.append(held.wait_s)
        now += held.wait_s
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    w.sent(20, P, 1, 5, now)
    w.acknowledged(20, 0, now)
    assert w.held() == {}
    assert w.after(now) == {P: 5}


def test_a_hold_outlives_the_session_and_what_was_in_flight_does_not():
    w = window()
    w.sent(1, P, 1, 1, 0.0)
    w.sent(2, A, 1, 1, 0.0)
    w.acknowledged(1, 0x87, 0.0)
    w.begin(1)
    assert w.idle
    assert w.after(0.0) == {P: MAX_ID}
    w.acknowledged(2, 0, 0.0)  # an answer of the session before
    assert w.take_confirmed() == {}


def test_after_field_returned_old_answers_move_nothing_but_free_their_place():
    w = window(2)
    w.sent(1, P, 1, 1, 0.0)
    w.sent(2, P, 2, 2, 0.0)
    assert not w.room
    w.forget()
    assert not w.room
    assert w.after(0.0) == {}
    w.acknowledged(1, 0, 0.0)
    assert w.room
    assert w.take_confirmed() == {}


def test_the_window_is_the_smaller_of_ours_and_the_brokers():
    for broker, room in ((1, 1), (3, 3), (65535, 8), (0, 1)):
        w = window()
        w.begin(broker)
        sent = 0
        while w.room:
            sent += 1
            w.sent(sent, P, sent, sent, 0.0)
        assert sent == room


def test_silence_counts_from_when_the_oldest_became_the_oldest():
    w = window()
    assert w.silence_s(9.0) == 0.0
    w.sent(1, P, 1, 1, 10.0)
    w.sent(2, P, 2, 2, 10.0)
    w.sent(3, P, 3, 3, 10.0)
    w.acknowledged(1, 0, 15.0)
    assert w.silence_s(18.0) == 3.0  # mid 2 is the oldest since 15.0
    w.acknowledged(3, 0, 17.0)  # a hole stays a hole
    assert w.silence_s(18.0) == 3.0


def test_a_record_that_cannot_be_sent_holds_its_stream():
    w = window()
    held = w.refuse(P, 4, 0x95, 0.0)
    assert (held.first, held.code) == (4, 0x95)
    assert w.after(0.0) == {P: MAX_ID}
    assert w.search(1.9) is None
    assert w.search(held.wait_s) == ({s: 3 if s is P else MAX_ID for s in Stream}, 1)


def deliver_all(w, refused, last, *, octets=100):
    """Field and a broker that takes what holds none of `refused`; the answers it gave, and what was set aside."""
    now, mid, cursor, asked, aside = 0.0, 0, 0, [], []
    while cursor < last:
        search = w.search(now)
        after, most = search or (w.after(now), 800)
        first = max(cursor, after.get(P, 0)) + 1
        if first > last:
            now += 400.0
            assert now < 1e6, "stuck"
            continue
        end = min(last, first + max(1, most // octets) - 1)
        mid += 1
        w.sent(mid, P, first, end, now, octets * (end - first + 1))
        bad = any(first <= n <= end for n in refused)
        asked.append((first, end, bad))
        held = w.acknowledged(mid, 0x99 if bad else 0, now)
        cursor = w.take_confirmed().get(P, cursor)
        if held is not None and held.refused:
            assert cursor == held.first - 1
            aside.append(held.first)
            w.passed(P, held.first)
            cursor = held.first
    return asked, aside


def test_a_batch_that_is_refused_is_halved_down_to_the_record():
    asked, aside = deliver_all(window(), {5}, 16)
    assert aside == [5]
    assert asked == [
        (1, 8, True),
        (1, 4, False),
        (5, 8, True),
        (5, 6, True),
        *[(5, 5, True)] * 3,
        (6, 6, False),
        (7, 7, False),
        (8, 8, False),
        (9, 16, False),
    ]


@given(st.sets(st.integers(1, 40), max_size=12))
def test_only_what_is_refused_is_set_aside_and_the_rest_flows(refused):
    _, aside = deliver_all(window(), refused, 40)
    assert set(aside) == refused
    assert len(aside) == len(refused)


def test_the_wait_of_a_search_is_short_and_that_of_a_refused_record_grows():
    w = window()
    w.sent(1, P, 1, 8, 0.0, 800)
    assert w.acknowledged(1, 0x99, 0.0).wait_s == 0.0
    assert w.retry_s(0.0) == 0.0
    assert w.after(0.0) == {P: MAX_ID}  # asked for by the search only
    waits = []
    for mid in (2, 3, 4):
        assert w.search(sum(waits))[1] == (400 if mid == 2 else 1)
        w.sent(mid, P, 1, 1, sum(waits), 100)
        assert w.search(sum(waits)) is None
        held = w.acknowledged(mid, 0x99, sum(waits))
        waits.append(held.wait_s)
    assert waits == [2, 4, 8]
    assert held.refused
    assert w.postpone(P, 14.0) == 300.0  # field does not let it pass now
    assert w.search(313.0) is None
    assert w.search(314.0) is not None


def test_a_held_stream_whose_try_is_in_flight_or_whose_records_are_gone_asks_for_no_polling():
    w = window()
    w.sent(1, P, 1, 5, 0.0)
    wait_s = w.acknowledged(1, 0x10, 0.0).wait_s
    assert w.retry_s(0.0) == wait_s
    w.sent(2, P, 1, 5, wait_s)
    assert w.retry_s(wait_s) is None  # its answer is awaited
    again_s = wait_s + w.acknowledged(2, 0x10, wait_s).wait_s
    assert w.retry_s(again_s) == 0.0
    w.found_nothing(w.after(again_s))
    assert w.retry_s(again_s) is None
    assert w.held() == {}


def test_a_search_ends_where_field_has_nothing_more():
    w = window()
    w.sent(1, P, 1, 8, 0.0, 800)
    w.acknowledged(1, 0x99, 0.0)
    w.found_nothing(w.search(0.0)[0])
    assert w.search(0.0) is None
    assert w.retry_s(0.0) is None
    assert w.held() == {}


def test_a_code_that_is_about_the_stream_blames_no_record():
    for code in (0x10, 0x87, 0x90, 0x97):
        w = window()
        for mid in range(1, 6):
            w.sent(mid, P, 1, 1, 1000.0 * mid, 100)
            assert not w.acknowledged(mid, code, 1000.0 * mid).refused
        assert w.search(1e6) is None


def test_a_session_that_ends_for_one_batch_in_flight_blames_it():
    w = window()
    for n in range(3):
        w.begin(65535)
        w.sent(10 + n, P, 4, 4, 100.0 * n, 100)
        held = w.ended(0x95, 100.0 * n)
        assert (held.first, held.refused) == (4, n == 2)
    assert w.ended(0x8B, 500.0) is None


def test_a_session_that_ends_with_several_in_flight_has_them_sent_one_at_a_time():
    w = window()
    w.sent(1, P, 1, 8, 0.0, 800)
    w.sent(2, A, 1, 1, 0.0, 100)
    assert w.ended(0x99, 0.0) is None
    w.begin(65535)
    assert w.after(0.0) == {P: MAX_ID, A: MAX_ID}
    w.sent_aside(1, 0.0)
    assert not w.room
    w.acknowledged(1, 0, 0.0)
    after, _ = w.search(0.0)
    stream = next(s for s in (P, A) if after[s] == 0)
    w.sent(2, stream, 1, 1, 0.0, 100)
    assert not w.room
    assert w.ended(0x99, 0.0).first == 1


class Model(RuleBasedStateMachine):
    """A broker that answers in any order with any code, sessions that end, a field that restarts."""

    def __init__(self):
        super().__init__()
        self.w = window(4)
        self.now = 0.0
        self.mid = 0
        self.given = dict.fromkeys(Stream, 0)  # field's last ids
        self.cursor = dict.fromkeys(Stream, 0)
        self.unanswered = {}
        self.broker_has = {s: set() for s in Stream}

    @rule(stream=st.sampled_from(list(Stream)), count=st.integers(1, 5))
    def append(self, stream, count):
        self.given[stream] += count

    @precondition(lambda self: self.w.room)
    @rule(at_most=st.integers(1, 4))
    def offer(self, at_most):
        after = self.w.after(self.now)
        for stream in Stream:
            first = max(self.cursor[stream], after.get(stream, 0)) + 1
            if first <= self.given[stream]:
                last = min(self.given[stream], first + at_most - 1)
                self.mid += 1
                self.unanswered[self.mid] = (stream, first, last)
                self.w.sent(self.mid, stream, first, last, self.now)
                return

    @precondition(lambda self: self.unanswered)
    @rule(data=st.data(), code=st.sampled_from([0, 0, 0, 0x10, 0x87, 0x97]))
    def answer(self, data, code):
        mid = data.draw(st.sampled_from(sorted(self.unanswered)))
        stream, first, last = self.unanswered.pop(mid)
        if code == 0:
            self.broker_has[stream] |= set(range(first, last + 1))
        self.w.acknowledged(mid, code, self.now)

    @rule()
    def tell(self):
        for stream, last in self.w.take_confirmed().items():
            assert last <= self.given[stream]
            self.cursor[stream] = max(self.cursor[stream], last)

    @rule(seconds=st.floats(0.1, 400.0))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(receive_maximum=st.integers(1, 6))
    def new_session(self, receive_maximum):
        self.unanswered.clear()
        self.w.begin(receive_maximum)

    @rule()
    def field_restarts(self):
        self.w.forget()

    @invariant()
    def nothing_is_delivered_that_the_broker_does_not_have(self):
        for stream in Stream:
            assert set(range(1, self.cursor[stream] + 1)) <= self.broker_has[stream]

    def teardown(self):
        """With a broker that takes everything, everything gets there."""
        for _ in range(3000):
            for mid, (stream, first, last) in list(self.unanswered.items()):
                del self.unanswered[mid]
                self.broker_has[stream] |= set(range(first, last + 1))
                self.w.acknowledged(mid, 0, self.now)
            self.tell()
            if self.cursor == self.given:
                return
            self.now += 400.0
            self.offer(4)
        raise AssertionError(f"stuck: {self.cursor} of {self.given}")


TestModel = Model.TestCase


@given(st.integers(1, 400), st.floats(0.01, 300.0))
def test_waits_are_within_bounds_and_grow(tries, longest):
    backoff = Backoff(longest)
    for _ in range(min(tries, 40)):
        assert 0 < backoff.next_s() <= longest


def test_a_connection_that_lasted_is_forgiven_and_one_that_did_not_is_not():
    backoff = Backoff(300.0, lambda low, high: high)
    assert [backoff.next_s() for _ in range(3)] == [2, 4, 8]
    backoff.connected(0.0)
    backoff.lost(299.0)
    assert backoff.next_s() == 16
    backoff.connected(1000.0)
    backoff.lost(1300.0)
    assert backoff.next_s() == 2
    assert backoff.rest_s() == 300
    assert backoff.next_s() == 300


def test_what_was_asked_for_ahead_is_sent_only_where_nothing_came_between():
    w = window()
    w.sent(1, P, 1, 10, 0.0)
    assert w.awaits(P, 11, 0.0)
    assert not w.awaits(P, 12, 0.0)
    assert not w.awaits(A, 1, 0.0)
    w.acknowledged(1, 0x10, 1.0)
    assert not w.awaits(P, 11, 1.0)
    w.begin(65535)
    w.sent(2, A, 1, 5, 1.0)
    w.begin(65535)
    assert not w.awaits(A, 6, 1.0), "what was in flight is offered again first"
