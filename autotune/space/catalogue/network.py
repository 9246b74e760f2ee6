"""Where a network card's work is done (interrupts, packet steering) and how it queues and bundles packets.

`nic` is the card that the load comes over. Nothing here does anything for a load over loopback. Effects are guesses.
"""

from __future__ import annotations

from autotune.space.setting import Kind, Setting

_NOW = "at once"
_DEVICES = r"[A-Za-z0-9][A-Za-z0-9_@\-]{0,39}"
_INTERFACES = r"[A-Za-z0-9][A-Za-z0-9_@\-]{0,14}"
_SCALING = "Linux, Documentation/networking/scaling.rst"
_NO_CARD = "loopback has no network card whose work could be moved or bundled"
_AT_RESTART = "some drivers restart the card's link for it"

IRQ = (
    Setting(
        id="irq:nic.affinity",
        instances=_DEVICES,
        kind=Kind.CPU_MASK,
        specials=("as found", "one", "spread", "big", "workers"),
        bites="with the next interrupt",
        loopback="loopback has no interrupts",
        why="Which CPUs take the card's interrupts; all on one slow core is the usual, and often the limit.",
        effect="++/++/+",
        source="Linux, Documentation/core-api/irq/irq-affinity.rst",
    ),
    Setting(
        id="irq:nic.0.affinity",
        instances=_DEVICES,
        kind=Kind.CPU_MASK,
        specials=("as found", "one", "spread", "big", "workers"),
        bites="with the next interrupt",
        expert=True,
        loopback="loopback has no interrupts",
        why="The same for one of the card's interrupts, counted from 0 in the order of /proc/interrupts.",
        effect="+/+/+",
        source="Linux, Documentation/core-api/irq/irq-affinity.rst",
    ),
)

NET = (
    Setting(
        id="net:nic.rps_cpus",
        instances=_INTERFACES,
        kind=Kind.CPU_MASK,
        specials=("off", "all", "big", "workers", "as found"),
        bites=_NOW,
        loopback=_NO_CARD,
        why="Shares the work on received packets among CPUs, for a card with fewer queues than there are CPUs.",
        effect="++/+/+",
        source=_SCALING,
    ),
    Setting(
        id="net:nic.rps_flow_cnt",
        instances=_INTERFACES,
        kind=Kind.INTEGER,
        low=0,
        high=131_072,
        bites=_NOW,
        loopback=_NO_CARD,
        why="Steers a connection's packets to the CPU that reads them; needs net.core.rps_sock_flow_entries as well.",
        effect="+/~/~",
        source=_SCALING,
    ),
    Setting(
        id="net:nic.xps_cpus",
        instances=_INTERFACES,
        kind=Kind.CPU_MASK,
        specials=("off", "all", "big", "workers", "as found"),
        bites=_NOW,
        expert=True,
        loopback=_NO_CARD,
        why="Which CPUs use which sending queue; only a card with several has a choice.",
        effect="~/~/~",
        source=_SCALING,
    ),
    Setting(
        id="net:nic.threaded",
        instances=_INTERFACES,
        kind=Kind.SWITCH,
        bites=_NOW,
        expert=True,
        loopback=_NO_CARD,
        why="Receives in kernel threads that the scheduler may move, instead of where the interrupt came in.",
        effect="+-/+-/~",
        source="Linux, Documentation/networking/napi.rst",
    ),
    Setting(
        id="net:nic.qdisc",
        instances=_INTERFACES,
        kind=Kind.CHOICE,
        choices=("fq", "fq_codel", "pfifo_fast"),
        specials=("as found",),
        bites=_NOW,
        expert=True,
        loopback="loopback has no queueing discipline",
        why="The queue in front of this card, replaced now; fq paces, fq_codel keeps queues short.",
        effect="0/~/0",
        source="Linux, tc(8)",
    ),
    Setting(
        id="net:nic.rx_usecs",
        instances=_INTERFACES,
        kind=Kind.TIME,
        low=0,
        high=1_000,
        unit="us",
        bites=_AT_RESTART,
        expert=True,
        loopback=_NO_CARD,
        why="How long the card collects packets before it interrupts: fewer interrupts against later answers.",
        effect="+-/+-/~",
        source="Linux, ethtool(8)",
    ),
    Setting(
        id="net:nic.tx_usecs",
        instances=_INTERFACES,
        kind=Kind.TIME,
        low=0,
        high=1_000,
        unit="us",
        bites=_AT_RESTART,
        expert=True,
        loopback=_NO_CARD,
        why="How long the card waits before it reports packets as sent.",
        effect="+-/+-/~",
        source="Linux, ethtool(8)",
    ),
    Setting(
        id="net:nic.gro",
        instances=_INTERFACES,
        kind=Kind.SWITCH,
        bites=_NOW,
        expert=True,
        loopback=_NO_CARD,
        why="Joins received packets before they go up the stack; off is for finding faults, rarely for speed.",
        effect="~/-/~",
        source="Linux, Documentation/networking/segmentation-offloads.rst",
    ),
    Setting(
        id="net:nic.gso",
        instances=_INTERFACES,
        kind=Kind.SWITCH,
        bites=_NOW,
        expert=True,
        loopback=_NO_CARD,
        why="Cuts large pieces into packets as late as possible; off costs CPU time for every packet.",
        effect="~/-/~",
        source="Linux, Documentation/networking/segmentation-offloads.rst",
    ),
    Setting(
        id="net:nic.tso",
        instances=_INTERFACES,
        kind=Kind.SWITCH,
        bites=_NOW,
        expert=True,
        loopback=_NO_CARD,
        why="Leaves the cutting into packets to the card; a faulty one is the only reason to turn it off.",
        effect="~/-/~",
        source="Linux, Documentation/networking/segmentation-offloads.rst",
    ),
)

SETTINGS = IRQ + NET
