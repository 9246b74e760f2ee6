"""The built-in catalogue: every setting that can be varied at all, its hard limits, and what never may be."""

from __future__ import annotations

from autotune.space.catalogue import builds, device, fpm, network, nginx, power, sysctl, thp
from autotune.space.catalogue.denied import DENIED, denied_reason
from autotune.space.catalogue.known import Catalogue, overlapping

__all__ = ["CATALOGUE", "DENIED", "denied_reason", "overlapping"]

CATALOGUE = Catalogue(
    (
        *nginx.SETTINGS,
        *builds.SETTINGS,
        *fpm.SETTINGS,
        *sysctl.SETTINGS,
        *thp.SETTINGS,
        *power.SETTINGS,
        *network.SETTINGS,
        *device.SETTINGS,
    )
)
