"""How a build of nginx that won is made and put in the place of the distribution's: commands to follow, not to run blindly."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from autotune.errors import SettingUnsupported
from autotune.experiment.events import NightBegun
from autotune.experiment.study import Study
from autotune.report.nginx_snippet import comment
from autotune.space.catalogue.builds import recipes

_FLAG = re.compile(r"[A-Za-z0-9_.,+={}-]{1,80}")
_URL = re.compile(r"https://[A-Za-z0-9._~/%+:-]{1,200}")
_PATH = re.compile(r"/[A-Za-z0-9._/+-]{1,200}")


def build_text(study: Study, begun: NightBegun, name: str) -> str:
    """Raises SettingUnsupported for a recipe that nobody knows, or whose words could do harm in a shell."""
    recipe = recipes(study.builds.recipes if study.builds else ()).get(name)
    if recipe is None:
        raise SettingUnsupported(
            f"there is no recipe {name!r}", hint="Export with the study's own definition."
        )
    cflags, ldflags = _words(recipe.cflags), _words(recipe.ldflags)
    more, without = _words(recipe.configure), _words(recipe.without)
    arm = begun.board.get("machine", "").startswith("aarch64")
    march, mtune = ("armv8-a+crc+crypto", "cortex-a76") if arm else ("native", "native")
    taken = "".join(f" -e {shlex.quote(f's/ {word} / /')}" for word in without)
    return "\n".join(
        [
            f"# The build {comment(name)} of study {comment(study.name)}",
            "",
            comment(recipe.why),
            "",
            "With autotune on the board's side, `autotune build make` makes it and proves that it runs. By hand, as a user",
            "who is not root:",
            "",
            "```sh",
            *_source(study),
            "# the distribution's own arguments, which the recipe adds to",
            (
                'arguments=$(nginx -V 2>&1 | sed -n "s/^configure arguments: //p" | sed -E '
                "'s/ --(with|add)-[a-z0-9_-]+=dynamic//g; s/ --add-(dynamic-)?module=[^ ]*//g')"
            ),
            *([f'arguments=$(printf "%s " "$arguments" | sed{taken})'] if taken else []),
            f"cflags='{_filled(cflags, march, mtune)}'",
            f"ldflags='{_filled(ldflags, march, mtune)}'",
            "# configure takes the last of several --with-cc-opt, so the distribution's words are written again before ours",
            'cc=$(printf "%s" "$arguments" | sed -n "s/.*--with-cc-opt=\'\\([^\']*\\)\'.*/\\1/p")',
            'ld=$(printf "%s" "$arguments" | sed -n "s/.*--with-ld-opt=\'\\([^\']*\\)\'.*/\\1/p")',
            f'eval "./configure $arguments {" ".join(more)}" \'"--with-cc-opt=$cc $cflags" "--with-ld-opt=$ld $ldflags"\'',
            'make -j"$(nproc)"',
            "./objs/nginx -V",
            "```",
            "",
            (
                "For this CPU the words `-march` and `-mtune` were filled in as autotune does it: "
                f"{march} and {mtune}. To put it in the place of yours, as root:"
            ),
            "",
            "```sh",
            "dpkg-divert --local --rename --divert /usr/sbin/nginx.distribution --add /usr/sbin/nginx",
            "install -m 755 objs/nginx /usr/sbin/nginx",
            "nginx -t && systemctl restart nginx",
            "```",
            "",
            "And back:",
            "",
            "```sh",
            "rm /usr/sbin/nginx",
            "dpkg-divert --local --rename --remove /usr/sbin/nginx",
            "nginx -t && systemctl restart nginx",
            "```",
            "",
            "The distribution's security updates go to /usr/sbin/nginx.distribution then: make the build again after each.",
            "",
        ]
    )


def _words(words: Sequence[str]) -> tuple[str, ...]:
    for word in words:
        if not _FLAG.fullmatch(word):
            raise SettingUnsupported(f"the recipe's word {word[:60]!r} can't stand in a command")
    return tuple(words)


def _filled(words: Sequence[str], march: str, mtune: str) -> str:
    return " ".join(words).replace("{march}", march).replace("{mtune}", mtune)


def _source(study: Study) -> list[str]:
    source = study.builds.source if study.builds else "apt"
    sha256 = study.builds.sha256 if study.builds else ""
    if source == "apt":
        return [
            "apt-get source nginx          # needs a deb-src line; build-dep: gcc make libpcre2-dev libssl-dev zlib1g-dev",
            "cd nginx-*/",
        ]
    if _URL.fullmatch(source):
        check = (
            [f"echo '{sha256}  source.tar' | sha256sum --check"]
            if re.fullmatch("[0-9a-f]{64}", sha256)
            else []
        )
        return [
            f"curl --fail --location --output source.tar '{source}'",
            *check,
            "tar xf source.tar",
            "cd nginx-*/",
        ]
    if _PATH.fullmatch(source):
        return [f"tar xf '{source}'", "cd nginx-*/"]
    raise SettingUnsupported(f"the source {source[:60]!r} can't stand in a command")
