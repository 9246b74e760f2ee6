"""What `install` can't do is told where it is exported, and how a build that won is made."""

from __future__ import annotations

import re
import subprocess

import pytest

from autotune.errors import SettingUnsupported
from autotune.experiment.events import Event, Proposal
from autotune.experiment.study import Builds
from autotune.installer.exported import from_text
from autotune.report.by_hand import BUILD_FILE, by_hand_lines
from autotune.report.export import NGINX_FILE, export_files
from autotune.report.nginx_snippet import nginx_text
from autotune.report.provenance import PROVENANCE_FILE
from autotune.space.build import BuildRecipe
from autotune.space.catalogue.builds import BUILD, RECIPES
from autotune.space.configuration import Configuration
from autotune.space.value import Value
from night_example import a_night, a_study


def with_winner(values: dict[str, Value]) -> list[Event]:
    """A night whose winner is another configuration, in its proposal and wherever it was measured."""
    study = a_study()
    log = a_night(study)
    winner = next(one for one in log if isinstance(one, Proposal) and len(one.configuration) > 3)
    old, new = winner.configuration, Configuration.of(values)
    return [
        event.model_copy(update={"configuration": new})
        if getattr(event, "configuration", None) == old
        else event
        for event in log
    ]


def shell_of(text: str) -> str:
    return "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))


def test_what_install_does_needs_no_hand() -> None:
    assert by_hand_lines({"cpufreq:all.governor": "performance", "nginx:sendfile": True}) == ()


def test_where_php_listens_is_told_and_not_touched() -> None:
    values: dict[str, Value] = {"fpm:listen.socket": "tcp", "fpm:max_children": 8}
    files = export_files(a_study(), with_winner(values))
    assert "php-fpm listened on a TCP port" in files[PROVENANCE_FILE]
    assert from_text(files["settings.json"]).pool == ("pm.max_children = 8",)


def test_fastcgi_directives_and_the_upstream_are_in_the_snippet() -> None:
    text = nginx_text(
        {
            "nginx:fastcgi_buffers.number": 16,
            "nginx:fastcgi_keep_conn": True,
            "nginx:fastcgi_busy_buffers_size": "auto",
            "nginx:upstream.keepalive": 8,
        },
        {"nginx:fastcgi_buffers.size": 4096, "nginx:fastcgi_buffers.number": 8},
    )
    assert "fastcgi_buffers 16 4k;" in text
    assert "fastcgi_keep_conn on;" in text
    assert "# remove fastcgi_busy_buffers_size" in text
    assert "# in the upstream block of php-fpm: keepalive 8;" in text


@pytest.mark.parametrize("name", [one.name for one in RECIPES])
def test_a_build_that_won_comes_with_how_to_make_it(name: str) -> None:
    values: dict[str, Value] = {BUILD: name, "nginx:sendfile": False}
    files = export_files(a_study(), with_winner(values))
    assert BUILD_FILE in files[PROVENANCE_FILE]
    commands = shell_of(files[BUILD_FILE])
    recipe = next(one for one in RECIPES if one.name == name)
    assert all(word in commands for word in recipe.configure)
    assert "{march}" not in commands
    checked = subprocess.run(["sh", "-n"], input=commands, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "build" not in files[NGINX_FILE].lower().replace("build.md", "")


@pytest.mark.parametrize("word", ["-O3; reboot", "$(id)", "-O3'", "`id`", "-O3\n", "-O3 \\"])
def test_a_recipe_whose_words_could_do_harm_is_never_written(word: str) -> None:
    study = a_study(builds=Builds(recipes=(BuildRecipe(name="mine", cflags=(word,)),)))
    with pytest.raises(SettingUnsupported):
        export_files(study, with_winner({BUILD: "mine"}))


@pytest.mark.parametrize("source", ["https://x.org/a.tar.gz'; reboot; '", "/tmp/a b.tar.gz", "ftp://x"])
def test_a_source_that_could_do_harm_is_never_written(source: str) -> None:
    study = a_study(builds=Builds(source=source))
    with pytest.raises(SettingUnsupported):
        export_files(study, with_winner({BUILD: "o3"}))
