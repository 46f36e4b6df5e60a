"""`prise completion SHELL`: the script that makes the shell complete prise's words.

The script asks prise itself, so what it offers is always what this release knows. click has scripts for the three shells,
and two of ours take their place: bash cuts the line at ":" and "=", of which addresses are made; and in zsh, click's does
not work the second time when it is a file in the path of functions.
"""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    shell_complete,
    split_arg_string,
)

from prise.cli.texts import examples
from prise.locale import translate as _

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_PRISE_COMPLETE"
"""Where the scripts say what they want."""

BASH = r"""# Completion of %(prog_name)s for bash 4.4 or newer. prise gets the line up to the cursor and answers with whole words.
%(complete_func)s() {
    local line=${COMP_LINE:0:COMP_POINT} type value
    # bash replaces only what follows the last character at which it cuts words; so what is before it is not said again.
    local word=${line##*[[:space:]]} breaks=${COMP_WORDBREAKS//[^:=]/} before=
    [[ -z $breaks ]] || before=${word%%"${word##*["$breaks"]}"}
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            plain) COMPREPLY+=("${value#"$before"}") ;;
        esac
    done < <(COMP_LINE=$line %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

ZSH = r"""#compdef %(prog_name)s
# Completion of %(prog_name)s for zsh. prise answers with three lines for each word: its kind, itself, what it is about.
%(complete_func)s() {
    local kind word about
    local -a plain described
    for kind word about in "${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) \
            %(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)}"; do
        case $kind in
            file) _files ;;
            dir) _files -/ ;;
            plain) if [[ $about == _ ]]; then plain+=("$word"); else described+=("$word:$about"); fi ;;
        esac
    done
    (( ! $#described )) || _describe -V words described -U
    (( ! $#plain )) || compadd -U -V words -a plain
}
compdef %(complete_func)s %(prog_name)s
# Loaded by a first Tab, from the path of functions: that one waits for its answer.
[[ $zsh_eval_context[-1] != loadautofunc ]] || %(complete_func)s "$@"
"""


class Bash(BashComplete):
    """Completion for bash by the line itself (COMP_LINE), split at spaces alone (bash(1), Programmable Completion)."""

    source_template = BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]
        # The "." keeps a word that has only begun: at the end of "serve " it is an empty one.
        words = split_arg_string(line + ".")
        return words[1:-1], words[-1][:-1]


class Zsh(ZshComplete):
    """Completion for zsh, as click has it but for the script (zshcompsys(1))."""

    source_template = ZSH


def completers() -> None:
    """Puts ours in the place of click's."""
    add_completion_class(Bash)
    add_completion_class(Zsh)


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
    completers()
    completer = get_completion_class(shell)
    assert completer is not None
    # The parts of the script are filled in here, not by its `source()`: that looks for bash and judges its version.
    script = completer(context.find_root().command, {}, "prise", VARIABLE)
    click.echo(script.source_template % script.source_vars())


def answer(commands: click.Command, asked: str) -> Any:
    """What one of the scripts asks for, on stdout. asked: the value of its variable, such as "bash_complete"."""
    completers()
    return shell_complete(commands, {}, "prise", VARIABLE, asked)
