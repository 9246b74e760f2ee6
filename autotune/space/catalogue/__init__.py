"""The built-in catalogue: every setting that can be varied at all, its hard limits, and what never may be."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from autotune.space.catalogue import fpm, nginx, sysctl, thp
from autotune.space.catalogue.denied import DENIED, denied_reason
from autotune.space.setting import Setting

__all__ = ["CATALOGUE", "DENIED", "denied_reason"]

CATALOGUE: Mapping[str, Setting] = MappingProxyType(
    {setting.id: setting for setting in (*nginx.SETTINGS, *fpm.SETTINGS, *sysctl.SETTINGS, *thp.SETTINGS)}
)
