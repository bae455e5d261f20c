"""A real mosquitto with mutual TLS and the access list of the contract, for tests.

    with running_broker(tmp_path) as broker:
        endpoint(broker, broker.authority.client("DCU-1"))

`broker.stop()` and `broker.start()` make an outage on the same port; `broker.pid` is there to be suspended.
"""

from contextlib import contextmanager
from pathlib import Path

from dcu.headend.broker import ACCESS_LIST, Broker
from dcu.headend.pki import Authority, Identity
from dcu.uplink.diagnosis import Endpoint


@contextmanager
def running_broker(directory: Path, *, access_list: str = ACCESS_LIST, hosts: tuple[str, ...] = ("localhost",)):
    """A broker that accepts connections, its files under `directory`; stopped at the end."""
    authority = Authority(directory / "pki")
    with Broker(directory / "broker", authority, hosts=hosts, access_list=access_list) as broker:
        yield broker


def endpoint(broker: Broker, identity: Identity, *, ca: Path | None = None, host: str = "") -> Endpoint:
    """That broker, as the holder of `identity` reaches it."""
    return Endpoint(
        host or broker.host, broker.port, ca or broker.authority.certificate_file, identity.certificate, identity.key
    )
