from __future__ import annotations

import logging
import os
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import anytrack_async
from anytrack_async.cli.__main__ import main
from anytrack_async.cli.app import app
from anytrack_async.cli.output import hide_warnings, replace_unencodable

WITHOUT = """
import sys
for name in {names!r}:
    sys.modules[name] = None
sys.argv = ["anytrack", *{arguments!r}]
from anytrack_async.cli.__main__ import main
main()
"""


COMMANDS = (
    *("demo", "sandbox", "track", "deliver", "stats", "outbox", "destinations", "check"),
    "setup",
)


def run_without(*names: str, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    script = WITHOUT.format(names=names, arguments=arguments)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_one_line_says_what_to_install(missing):
    result = run_without(missing, arguments=("demo",))

    assert result.returncode == 2
    assert result.stderr == "the command line needs: pip install 'anytrack_async[cli]'\n"
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["demo", "sandbox"])
def test_without_the_sandbox_extra_one_line_says_what_to_install(command):
    result = run_without("uvicorn", arguments=(command,))

    assert result.returncode == 2
    assert "pip install 'anytrack_async[sandbox]'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_other_commands_need_no_sandbox_extra():
    result = run_without("uvicorn", "starlette", arguments=("--version",))

    assert result.returncode == 0


def test_an_import_that_fails_for_another_reason_is_not_hidden(monkeypatch):
    monkeypatch.setitem(sys.modules, "anytrack_async.cli.app", None)

    with pytest.raises(ImportError):
        main()


class InterruptedImport:
    def __getattr__(self, name):
        raise KeyboardInterrupt


class InterruptedStart:
    def app(self, **_):  # as if typer were still preparing the commands
        raise KeyboardInterrupt


@pytest.mark.parametrize("module", [InterruptedImport, InterruptedStart])
def test_an_interrupt_while_starting_ends_quietly(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "anytrack_async.cli.app", module())

    with pytest.raises(SystemExit) as exit_:
        main()

    assert exit_.value.code == 130


def test_the_version_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["anytrack", "--version"])

    with pytest.raises(SystemExit) as exit_:
        main()

    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"anytrack_async {anytrack_async.__version__}\n"


def test_without_a_command_help_lists_all(run):
    result = run()

    for command in (
        "demo",
        "sandbox",
        "track",
        "deliver",
        "stats",
        "outbox",
        "destinations",
        "check",
        "setup",
    ):
        assert command in result.out + result.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run, command):
    result = run(command, "--help")

    assert result.code == 0
    assert "Usage" in result.out


def test_an_unknown_command_is_wrong_usage(run):
    assert run("fly").code == 2


def test_a_closed_pipe_ends_the_command_quietly(sandbox, outbox_path):
    command = [sys.executable, "-m", "anytrack_async.cli"]
    subprocess.run([*command, "track", "lead", "--no-wait"], capture_output=True, check=True)
    reader, writer = os.pipe()
    os.close(reader)

    result = subprocess.run([*command, "stats", "--json"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)

    assert result.returncode == 1
    assert b"Traceback" not in result.stderr
    assert b"error" not in result.stderr


def test_library_warnings_are_written_as_lines(run, sandbox):
    result = run("track", "lead", "--email", "a@example.com")

    assert "warning: meta: matched less well: website events without user_agent" in result.err
    assert logging.getLogger("anytrack_async").handlers == []


def test_a_misspelt_variable_is_told_when_a_command_starts(run, monkeypatch, outbox_path):
    monkeypatch.setenv("ANYTRACK_ACCOUNTID", "a")

    result = run("stats", "--outbox", f"{outbox_path}-missing")

    assert "did you mean ANYTRACK_ACCOUNT_ID?" in result.err.replace("\n", " ")


@pytest.mark.parametrize(
    "arguments", [("track", "foo"), ("track", "lead", "--timeout", "x"), ("demo", "--faults", "3")]
)
def test_a_wrong_value_is_told_without_the_words_of_the_library_that_checks_it(run, arguments):
    result = run(*arguments)

    assert result.code == 2
    for jargon in ("Value error", "Input should", "parse string"):
        assert jargon not in result.err


def test_an_interrupt_ends_with_130(run, monkeypatch, outbox_path):
    def interrupted(outbox):
        raise KeyboardInterrupt

    monkeypatch.setattr("anytrack_async.cli.outbox.outbox_location", interrupted)

    result = run("stats")

    assert (result.code, result.out, result.err) == (130, "", "interrupted: stopped\n")


def test_streams_that_cannot_be_reconfigured_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", object())

    replace_unencodable()


def test_hide_warnings_keeps_errors(caplog):
    logger = logging.getLogger("anytrack_async")

    with hide_warnings():
        logger.warning("hidden")
        logger.error("shown")
    logger.warning("shown again")

    assert caplog.messages == ["shown", "shown again"]


def test_characters_that_the_terminal_lacks_become_question_marks(
    monkeypatch, sandbox, outbox_path
):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    order = ("track", "lead", "--order-id", "注文", "--no-wait")

    result = subprocess.run(
        [sys.executable, "-m", "anytrack_async.cli", *order], capture_output=True
    )

    assert result.returncode == 0
    assert b"lead:?? is stored" in result.stdout


# Running it


def run_module(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "anytrack_async", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120", **environ},
    )


@pytest.fixture
def run_main(monkeypatch, capsys):
    """Run the entry point in this process, and return what it prints."""

    def start(**environ: str) -> str:
        monkeypatch.setattr(sys, "argv", ["anytrack"])
        for name, text in environ.items():
            monkeypatch.setenv(name, text)
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().out

    return start


def test_the_package_is_the_command():
    result = run_module("--version")

    assert (result.returncode, result.stdout) == (
        0,
        f"anytrack_async {anytrack_async.__version__}\n",
    )


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("bash", "complete -o default -F _anytrack_completion anytrack"),
        ("zsh", "#compdef anytrack"),
        ("fish", "complete --command anytrack"),
    ],
)
def test_shells_get_a_script_that_completes(shell, words, run_main):
    assert words in run_main(_ANYTRACK_COMPLETE=f"source_{shell}")


def test_commands_and_options_are_completed(run_main):
    words = {"COMP_WORDS": "anytrack track --rev", "COMP_CWORD": "2"}

    assert run_main(_ANYTRACK_COMPLETE="complete_bash", **words).split() == ["--revenue"]


# Help


def commands(group, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        yield from commands(command, (*path, name)) if hasattr(command, "commands") else ()


ALL_COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", ALL_COMMANDS, ids=" ".join)
def test_help_shows_what_values_are_and_no_types_of_python(path):
    result = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})

    assert result.exit_code == 0
    assert not re.search(
        r"<[a-z]|\b(TEXT|INTEGER|FLOAT|BOOLEAN|RANGE|lambda|str|int)\b", result.stdout
    )


def test_help_names_amounts_times_and_seconds():
    result = CliRunner().invoke(app, ["track", "--help"], env={"COLUMNS": "200"})

    for option, value in (("revenue", "AMOUNT"), ("timestamp", "TIME"), ("timeout", "SECONDS")):
        assert re.search(rf"--{option}\s+{value}\b", result.stdout)
    assert "sale|lead|signup|custom" in result.stdout


def test_a_time_is_iso_8601():
    arguments = ["track", "lead", "--timestamp", "soon"]
    result = run_module(*arguments)

    assert result.returncode != 0
    assert "timestamp must be an ISO 8601 time" in result.stderr
