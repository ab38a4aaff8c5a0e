"""The command line imports what it was asked for, and knows the rest when it is needed."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from benchfs.cli.main import COMMANDS, GROUPS, command_line

IMPORTED = """
import sys
from benchfs.cli.main import COMMANDS, GROUPS, command_line
command_line(sys.argv[1:])
print(*(name for name in (*COMMANDS, *GROUPS) if f"benchfs.cli.{name}" in sys.modules))
"""


@pytest.mark.parametrize("words", [["ls", "/bench"], ["--version", "ls"], ["ls", "--help"]])
def test_the_one_command_that_is_named_is_imported(words):
    found = subprocess.run(
        [sys.executable, "-c", IMPORTED, *words], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["ls"]


@pytest.mark.parametrize("words", [[], ["--help"], ["sl"]])
def test_all_commands_are_known_where_none_is_named(words):
    shown = CliRunner().invoke(command_line(words), ["--help"])
    assert all(f" {name} " in shown.output for name in (*COMMANDS, *GROUPS))


def test_a_mistyped_command_is_answered_with_the_one_that_was_meant():
    refused = CliRunner().invoke(command_line(["mkdri"]), ["mkdri"])
    assert refused.exit_code == 2
    assert "Did you mean 'mkdir'?" in refused.output
