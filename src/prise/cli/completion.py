"""`prise completion SHELL`: the script that makes the shell complete prise's words."""

from __future__ import annotations

import click

from prise.cli.texts import examples
from prise.locale import translate as _

SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    help=_("Prints the completion script of a shell."),
    epilog=examples(
        ('eval "$(prise completion bash)"', _("in ~/.bashrc")),
        ('eval "$(prise completion zsh)"', _("in ~/.zshrc")),
        ("prise completion fish > ~/.config/fish/completions/prise.fish", _("once")),
    ),
)
@click.argument("shell", type=click.Choice(SHELLS), metavar="bash|zsh|fish")
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    from click.shell_completion import get_completion_class

    completer = get_completion_class(shell)
    assert completer is not None
    # The parts of the script are filled in here, not by its `source()`: that looks for bash and judges its version.
    script = completer(context.find_root().command, {}, "prise", "_PRISE_COMPLETE")
    click.echo(script.source_template % script.source_vars())
