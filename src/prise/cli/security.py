"""The options about TLS and proxies that commands share, and what they mean: a `TLS`, an address, proxies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import click

import prise
from prise.cli.outcome import say
from prise.locale import translate as _

Command = TypeVar("Command", bound=Callable[..., Any])

ENCRYPTED = {"tcp": "tls", "ws": "wss"}
"""What --tls makes of a scheme."""


def client_security(command: Command) -> Command:
    """The options of who connects to an address; the command gets them as `security`."""
    encrypt = click.option("--tls", is_flag=True, help=_("Encrypt: tcp becomes tls, ws becomes wss."))
    return _options(trust(command), encrypt)


def trust(command: Command) -> Command:
    """Whom a client trusts, who it is itself, and through which proxies it goes."""
    return _options(
        command,
        click.option("--ca", metavar=_("FILE"), help=_("Trust these authorities (PEM), and not the system's.")),
        click.option(
            "--pin", metavar=_("SHA256"), help=_("Trust the certificate with this fingerprint, and no other.")
        ),
        click.option("--insecure", is_flag=True, help=_("Trust any certificate. Somebody in between can read along.")),
        click.option("--cert", metavar=_("FILE"), help=_("Our own certificate (PEM), if the server asks for one.")),
        click.option("--key", metavar=_("FILE"), help=_("Its key, if it is not in the same file.")),
        click.option(
            "--via",
            multiple=True,
            metavar=_("PROXY"),
            help=_(
                "Go through socks5://HOST:PORT or http://HOST:PORT; several make a chain. Default: what ALL_PROXY says."
            ),
        ),
        click.option("--no-proxy", is_flag=True, help=_("Connect directly, whatever ALL_PROXY says.")),
    )


def server_security(command: Command) -> Command:
    """The options of who listens."""
    return _options(
        command,
        click.option("--tls", is_flag=True, help=_("Encrypt: tcp becomes tls, ws becomes wss.")),
        click.option(
            "--cert", metavar=_("FILE"), help=_("The certificate (PEM), with those of its authorities behind it.")
        ),
        click.option("--key", metavar=_("FILE"), help=_("Its key, if it is not in the same file.")),
        click.option(
            "--client-ca", metavar=_("FILE"), help=_("Let only those in who have a certificate of these authorities.")
        ),
        click.option("--self-signed", is_flag=True, help=_("A certificate of our own making, for development.")),
    )


def _options(command: Command, *options: Callable[[Any], Any]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def client_tls(values: dict[str, Any]) -> Any:
    """The `TLS` that the options describe, taken out of `values`; None where they say nothing."""
    given = {name: values.pop(name) for name in ("ca", "pin", "cert", "key")}
    insecure = values.pop("insecure")
    if not insecure and not any(given.values()):
        return None
    return prise.TLS(**given, verify=not insecure)


def server_tls(values: dict[str, Any]) -> Any:
    """The same for who listens; says the fingerprint of a self-signed certificate, which clients can pin."""
    given = {name: values.pop(name) for name in ("cert", "key", "client_ca", "self_signed")}
    if not any(given.values()):
        return None
    tls = prise.TLS(**given)
    if given["self_signed"]:
        say(
            _("self-signed certificate; clients can trust it with --pin {fingerprint}").format(
                fingerprint=tls.fingerprint
            )
        )
    return tls


def encrypted(address: str, values: dict[str, Any]) -> str:
    """The address that --tls makes of the one given. Raises UsageError for schemes that have no TLS."""
    if not values.pop("tls"):
        return address
    where = prise.Address.parse(address)
    if where.scheme in ENCRYPTED.values():
        return address
    if where.scheme not in ENCRYPTED:
        raise prise.UsageError("--tls is for tcp and ws addresses, not for {address}", address=where)
    return str(replace(where, scheme=ENCRYPTED[where.scheme]))


def proxies(values: dict[str, Any]) -> tuple[str, ...] | str:
    """What `prise.connect(via=...)` is to be given."""
    via, direct = values.pop("via"), values.pop("no_proxy")
    return via or (() if direct else "environment")
