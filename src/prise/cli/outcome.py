"""How a command ends: one clear line on stderr and an exit code, never a traceback for what a user can mend.

0 done, 1 the other side said no, 2 usage, 3 name, 4 refused or unreachable, 5 too slow, 6 TLS, 7 login, 8 cut short,
130 Ctrl-C. When nobody reads stdout any more (`| head -1`) the end is quiet, and fine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from prise import PriseError
from prise.locale import translate as _

INTERRUPTED = 130


def say(text: str) -> None:
    """One line for the person, on stderr."""
    try:
        print(
            f"{text}\n", end="", file=sys.stderr, flush=True
        )  # in one write, where several threads have something to say
    except (OSError, ValueError):
        pass  # nobody listens


def outcome(action: Callable[[], Any]) -> int:
    """Runs the action, says what went wrong if anything did, and returns the exit code (that of the action if it has one)."""
    try:
        result = action()
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as error:  # --help, --version
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "prise"
        hint = _("Try '{command} {option}' for help.").format(command=command, option="--help")
        message = error.format_message().strip()
        say(f"{command}: {message if message.endswith(('.', '?')) else message + '.'} {hint}")
        return error.exit_code
    except click.ClickException as error:
        say(f"prise: {error.format_message()}")
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        if sys.stderr.isatty():
            say("")  # the terminal has written ^C and stays in that line
        return INTERRUPTED
    except PriseError as error:
        say(f"prise: {error.sentence(_)}")
        return error.exit_code
    except BrokenPipeError:
        # Python flushes stdout once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        say(f"prise: {': '.join(str(part) for part in (error.filename, error.strerror or error) if part)}")
        return 1
