"""Where a load from another machine finds the server: the managed nginx listens there alone, the user's own must listen there."""

from __future__ import annotations

import pytest

from autotune.actuators.own_listen import OwnListen, refuse_unreached
from autotune.actuators.own_tree import OwnDirective
from autotune.errors import BoardUnfit

SERVER = OwnDirective(path="/etc/nginx/nginx.conf", line=1, words=(), end=0)


def listens(*addresses: str, port: int = 80) -> tuple[OwnListen, ...]:
    return tuple(
        OwnListen(address=one, port=port, server=SERVER, directive=None, is_http=True) for one in addresses
    )


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.10"])
def test_a_site_that_listens_there_is_reached(address: str) -> None:
    refuse_unreached(listens(address), "192.168.1.10", ["http://www.example.org/"])


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1", 80), ("192.168.1.11", 80), ("0.0.0.0", 8080)])
def test_a_site_that_does_not_listen_there_is_refused_in_the_evening(address: str, port: int) -> None:
    with pytest.raises(BoardUnfit, match=r"does not listen on 192\.168\.1\.10, port 80"):
        refuse_unreached(listens(address, port=port), "192.168.1.10", ["http://www.example.org/"])


def test_over_loopback_nothing_is_asked() -> None:
    refuse_unreached(listens("192.168.1.10"), "127.0.0.1", ["http://www.example.org/"])
