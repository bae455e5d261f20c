"""The head-end's side without a broker: each record once, holes shown, nothing acknowledged that is not kept."""

import json
import os
import stat
from itertools import pairwise
from types import SimpleNamespace

import cbor2
import pytest
from click.testing import CliRunner
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from dcu.cli.headend_listen import listen
from dcu.cli.headend_mqtt import pki, send
from dcu.errors import OperatorFault
from dcu.headend.collection import Collection
from dcu.headend.holdings import Holdings, Hole, IdRanges, Series
from dcu.headend.listen import Listener
from dcu.headend.pki import Authority
from dcu.record import Batch, Stream, encode_batch
from dcu.uplink.letters import Arrived


@given(st.lists(st.integers(1, 60)))
def test_ranges_are_a_set(ids):
    ranges, model = IdRanges(), set()
    for n in ids:
        assert ranges.add(n) == (n not in model)
        model.add(n)
    flat = [n for first, last in ranges.ranges() for n in range(first, last + 1)]
    assert flat == sorted(model)
    ends = ranges.ranges()
    assert all(a[1] + 1 < b[0] for a, b in pairwise(ends))


def batch(first, count, *, dcu="JH", epoch="e", stream=Stream.ALARM):
    return Batch(dcu, epoch, stream, first, {}, [{"n": n} for n in range(first, first + count)])


def test_batches_cut_in_other_ways_give_each_record_once():
    holdings = Holdings()
    assert [i.id for i in holdings.take(batch(1, 5))] == [1, 2, 3, 4, 5]
    assert [i.id for i in holdings.take(batch(3, 6))] == [6, 7, 8]
    assert holdings.take(batch(1, 8)) == []
    assert holdings.repeated == 3 + 8
    assert [i.id for i in holdings.take(batch(1, 2, epoch="f"))] == [1, 2]  # another store: other records


def test_holes_are_shown_until_they_are_filled():
    holdings = Holdings()
    series = Series("JH", "e", Stream.ALARM)
    holdings.take(batch(4, 2))
    holdings.take(batch(9, 1))
    assert holdings.holes() == [Hole(series, 1, 3), Hole(series, 6, 8)]
    holdings.take(batch(1, 8))
    assert holdings.holes() == []


class Message(SimpleNamespace):
    """A session that notes what was acknowledged."""

    alive = True

    def acknowledge(self, mid):
        self.acknowledged.append(mid)


def arrived(topic, octets, content_type="application/cbor"):
    return Arrived(Message(acknowledged=[]), 7, topic, octets, 1, False, content_type)


def encoded(first=1, records=({"n": 1},), dcu="JH", stream=Stream.ALARM):
    return encode_batch(dcu, "e", stream, first, {}, [cbor2.dumps(r) for r in records])


def test_a_record_is_kept_before_it_is_acknowledged(tmp_path, monkeypatch):
    with Collection(tmp_path / "headend.db") as collection:
        listener = Listener(None, collection)
        letter = arrived("dcu/v1/JH/up/alarm", encoded())
        listener.take(letter)
        assert letter.session.acknowledged == [7]
        assert collection.count() == 1
        monkeypatch.setattr(collection, "take", lambda batch: (_ for _ in ()).throw(OperatorFault("disk full")))
        letter = arrived("dcu/v1/JH/up/alarm", encoded(2))
        with pytest.raises(OperatorFault, match="disk full"):
            listener.take(letter)
        assert letter.session.acknowledged == []


@pytest.mark.parametrize(
    ("topic", "octets"),
    [
        ("dcu/v1/JH/up/alarm", b"garbage"),
        ("dcu/v1/other/up/alarm", encoded()),  # a box that speaks for another
        ("dcu/v1/JH/up/receipt", encoded()),
        ("dcu/v1/JH/up/alarm", encoded(0)),
        ("dcu/v1/JH/up/alarm", encoded(2**63)),
        ("dcu/v1/JH/up/alarm", encoded(1, [7])),
        ("dcu/v1/JH/state", b"online"),
        ("dcu/v1/JH/state", b"[]"),
        ("elsewhere", encoded()),
    ],
)
def test_what_is_no_batch_of_its_topic_is_counted_and_does_not_come_again(topic, octets):
    items = []
    listener = Listener(None, on_item=items.append)
    letter = arrived(topic, octets)
    listener.take(letter)
    assert letter.session.acknowledged == [7]
    assert (listener.malformed, items, listener.count()) == (1, [], 0)


def test_the_columns_come_with_the_record():
    items = []
    columns = [{"ln": "1.0.1.8.0.255", "attr": 2, "unit": 30, "scaler": 0}]
    octets = encode_batch(
        "JH", "e", Stream.PROFILE, 1, {b"12345678": cbor2.dumps(columns)}, [cbor2.dumps({"layout": b"12345678"})]
    )
    Listener(None, on_item=items.append).take(arrived("dcu/v1/JH/up/profile", octets))
    assert items[0].columns == columns


# ---- certificates and commands --------------------------------------------------------------------------------------


def test_certificates_say_who_they_are_and_keys_are_for_their_owner(tmp_path):
    authority = Authority(tmp_path)
    made = authority.client("JH-RNC-0042")
    server = authority.server("broker", ("hes.example", "10.0.0.1"))
    for path in tmp_path.glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    certificate = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=JH-RNC-0042"
    names = x509.load_pem_x509_certificate(server.certificate.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["hes.example"]
    assert [str(a) for a in names.value.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    again = Authority(tmp_path).client("JH-RNC-0043")  # the same CA signs on
    issuer = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    x509.load_pem_x509_certificate(again.certificate.read_bytes()).verify_directly_issued_by(issuer)


def test_pki_command(tmp_path):
    result = CliRunner().invoke(pki, [str(tmp_path / "pki"), "--dcu", "JH-1", "--json"])
    assert result.exit_code == 0
    answer = json.loads(result.output)
    assert [os.path.basename(p) for p in answer["certificates"]] == ["broker.pem", "hes.pem", "JH-1.pem"]  # noqa: PTH119
    assert CliRunner().invoke(pki, [str(tmp_path / "pki"), "--dcu", "../x"]).exit_code == 1


@pytest.mark.parametrize(
    "address", ["hes.example:8883", "mqtt://hes.example", "mqtts://", "mqtts://h:notaport", "mqtts://h/x"]
)
def test_a_broker_that_is_no_address_is_told(tmp_path, address):
    document = tmp_path / "d"
    document.write_bytes(b"{}")
    files = [word for name in ("ca", "cert", "key") for word in (f"--{name}", "x")]
    result = CliRunner().invoke(send, [str(document), "--dcu", "JH", "--broker", address, *files])
    assert result.exit_code == 1
    assert "write mqtts://host:8883" in result.output
    result = CliRunner().invoke(listen, ["--broker", "mqtts://h:1", *files])
    assert result.exit_code == 1
    assert "no such file: x" in result.output
