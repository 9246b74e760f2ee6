"""A night full of names: of hosts, users, sites, network cards and boots, wherever a night may have them. For tests of any room."""

from __future__ import annotations

from autotune.experiment.events import Doubt, Event, Failure, Gap, GateResult, NightBegun, Sample
from autotune.experiment.study import OwnNginx, Study, Url, Workload
from night_example import a_night, a_study

BOOT = "3f0c9a52-6a1e-4c0e-9a55-0d2f5c1b7e11"
NAMES = (
    "rock5b", "acme", "radxa", "carol", "desk7", "laptop9", "intranet.lan", "10.20.30.40", "192.168.7.23", "52:54:00:ab:cd:ef",
    "fe80::5054:ff:feab:cdef", BOOT, "customers", "jump",
)  # fmt: skip
RAW = "Running 2s test @ https://www.acme.com/customers/?id=7\n  4 threads; cookie of carol at 192.168.7.23, /home/carol/wrk.lua\n"


def named_study() -> Study:
    """A study of somebody's own sites on somebody's board."""
    plain = a_study("named").workloads[0]
    return a_study(
        "named",
        title="the shop of acme, on rock5b",
        board="ssh://radxa@rock5b.intranet.lan:2222",
        load="ssh://carol@desk7",
        server=OwnNginx(config="/home/carol/nginx/nginx.conf", address="10.20.30.40"),
        workloads=(
            Workload(
                name=plain.name,
                urls=(
                    Url(target="https://www.acme.com/"),
                    Url(target="https://www.acme.com/customers/?id=7", weight=2),
                ),
                connections=plain.connections,
                threads=plain.threads,
                duration_s=plain.duration_s,
                warmup_s=plain.warmup_s,
            ),
        ),
    )


def named_night(study: Study, *, until: int | None = None) -> list[Event]:
    """Its log, with a name in every place that may hold one."""
    log = [_named(event) for event in a_night(study, until=until, meters=True)]
    if len(log) > 12:
        gap = Gap(
            night=1,
            at=log[11].at,
            seconds=200.0,
            boot=BOOT,
            reason="the line to ssh://radxa@rock5b.intranet.lan:2222 was lost: jump.acme.com: no route; carol@desk7 waits",
        )
        log.insert(12, gap)
    return log


def _named(event: Event) -> Event:
    if isinstance(event, NightBegun):
        board = {
            "host": "rock5b",
            "model": "Radxa Rock 5B+",
            "kernel": "6.1.84-rockchip",
            "boot": BOOT,
            "load from": "ssh://carol@desk7 (desk7, 8 CPUs, 6.12.1)",
            "load's way": "10.20.30.40 to 192.168.7.23, enx525400abcdef on the board",
        }
        doubt = Doubt(
            code="foreign",
            text="process 812 on laptop9 holds it; 52:54:00:ab:cd:ef and fe80::5054:ff:feab:cdef answer, 127.0.0.1 too",
            next="see /home/carol/.ssh/config",
        )
        return event.model_copy(update={"board": board, "doubts": (doubt,)})
    if isinstance(event, Failure):
        return event.model_copy(
            update={
                "reason": 'nginx: [emerg] host not found in upstream "db.acme.com" in /home/carol/nginx/sites/acme:12;'
                " https://www.acme.com/customers/?id=7 answered 502"
            }
        )
    if isinstance(event, Sample):
        return event.model_copy(
            update={
                "gates": (GateResult(name="foreign load", passed=True, detail="carol's backup on rock5b"),)
            }
        )
    return event
