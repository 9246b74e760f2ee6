"""What ethtool sets of a network card (ethtool:<device>/<feature>), by the same ioctl: bundling and offloads."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from array import array
from typing import Dict, List, NamedTuple, Optional, Tuple

# A card has several kinds of tso; these two are what every other kind needs, and each keeps its own wish meanwhile.
_OFFLOADS: Dict[str, Tuple[str, ...]] = {
    "gro": ("rx-gro",),
    "gso": ("tx-generic-segmentation",),
    "tso": ("tx-tcp-segmentation", "tx-tcp6-segmentation"),
}
# struct ethtool_coalesce: where the time is, and where "the driver adapts it by itself" is.
_USECS = {"rx-usecs": (1, 10), "tx-usecs": (5, 11)}
FEATURES = (*_USECS, *_OFFLOADS)

_SIOCETHTOOL = 0x8946
_GCOALESCE, _SCOALESCE, _GSTRINGS, _GSSET_INFO, _GFEATURES, _SFEATURES = 0x0E, 0x0F, 0x1B, 0x37, 0x3A, 0x3B
_SET_OF_FEATURES = 4
_COALESCE_WORDS, _NAME_BYTES, _FEATURE_WORDS = 23, 32, 8


class _Bit(NamedTuple):
    """One offload of a card: where its bit is, and whether it is on now."""

    word: int
    mask: int
    on: bool


def read(device: str, feature: str) -> Optional[str]:
    """A number of microseconds, or on, off, mixed; None without such an interface. Raises OSError where the card can't."""
    try:
        socket.if_nametoindex(device)
    except OSError:
        return None
    if feature in _USECS:
        return str(_coalescing(device, feature)[_USECS[feature][0]])
    states = {bit.on for bit in _bits(device, feature)[0]}
    return "mixed" if len(states) > 1 else "on" if states.pop() else "off"


def write(device: str, feature: str, text: str) -> None:
    """Sets it; what is next to it stays. Raises OSError with the card's refusal."""
    if feature in _USECS:
        found = _coalescing(device, feature)
        place = _USECS[feature][0]
        if found[place] == int(text):
            return  # some drivers restart the link even for their own value
        found[0], found[place] = _SCOALESCE, int(text)
        _ask(device, found)
        return
    if text not in ("on", "off"):
        raise OSError(errno.EINVAL, f"{text!r} is neither on nor off")
    bits, words = _bits(device, feature)
    asked = array("I", [_SFEATURES, words] + [0] * (2 * words))
    for bit in bits:
        asked[2 + 2 * bit.word] |= bit.mask
        asked[3 + 2 * bit.word] |= bit.mask if text == "on" else 0
    _ask(device, asked)


def by_hand(device: str, feature: str, original: str) -> str:
    """The command that does the same."""
    if feature in _USECS:
        return f"ethtool -C {device} {feature} {original}"
    return f"ethtool -K {device} " + " ".join(f"{name} {original}" for name in _OFFLOADS[feature])


def _coalescing(device: str, feature: str) -> array[int]:
    found = array("I", [_GCOALESCE] + [0] * (_COALESCE_WORDS - 1))
    _ask(device, found)
    if found[_USECS[feature][1]]:
        raise OSError(errno.EBUSY, f"the card adapts it by itself (adaptive-{feature[:2]} on)")
    return found


def _bits(device: str, feature: str) -> Tuple[List[_Bit], int]:
    """The offload's bits that this card can change, and how many words of bits the kernel has."""
    names = _names(device)
    found = array("I", [_GFEATURES, _FEATURE_WORDS] + [0] * (4 * _FEATURE_WORDS))
    _ask(device, found)
    bits = []
    for name in _OFFLOADS[feature]:
        if name in names:
            word, mask = names.index(name) // 32, 1 << names.index(name) % 32
            available, _, active, never = found[2 + 4 * word : 6 + 4 * word]
            if available & ~never & mask:
                bits.append(_Bit(word, mask, bool(active & mask)))
    if not bits:
        raise OSError(errno.EOPNOTSUPP, f"the card can't change {feature}")
    return bits, found[1]


def _names(device: str) -> List[str]:
    answer = array("B", struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _SET_OF_FEATURES, 0))
    _ask(device, answer)
    count = struct.unpack_from("=I", answer, 16)[0]
    strings = array("B", struct.pack("=III", _GSTRINGS, _SET_OF_FEATURES, count) + bytes(count * _NAME_BYTES))
    _ask(device, strings)
    text = strings.tobytes()[12:]
    return [
        text[at : at + _NAME_BYTES].split(b"\0")[0].decode("ascii", "replace")
        for at in range(0, len(text), _NAME_BYTES)
    ]


def _ask(device: str, words: array[int]) -> None:
    """Hands the kernel the words and has its answer in them. Raises OSError."""
    request = array("B", struct.pack("16sP16x", os.fsencode(device), words.buffer_info()[0]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
        fcntl.ioctl(handle, _SIOCETHTOOL, request, True)
