"""The stream and the bucket of a backplane in JetStream: made if they are not there, checked if they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prise import UsageError
from prise.chat.store.natswire import Backplane

if TYPE_CHECKING:
    from nats.js import api
    from nats.js.client import JetStreamContext

DUPLICATE_TIME = 120.0
"""Seconds in which a message that is sent again is known."""


async def prepared(stream: JetStreamContext, backplane: Backplane) -> Any:
    """What the stream holds (`api.StreamState`). Raises UsageError, and the errors of nats-py."""
    from nats.js import api
    from nats.js.errors import NotFoundError

    wanted = api.StreamConfig(
        name=backplane.name,
        subjects=[f"{backplane.log}>"],
        retention=api.RetentionPolicy.LIMITS,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.OLD,
        max_age=backplane.keep_time,
        max_msgs=backplane.keep_messages,
        duplicate_window=min(DUPLICATE_TIME, backplane.keep_time),  # it may not be longer
        num_replicas=backplane.replicas,
    )
    info = await _found_or_made(stream, wanted)
    _check(info.config, wanted, backplane.name)
    try:
        bucket = (await stream.stream_info(f"KV_{backplane.name}")).config
    except NotFoundError:
        await stream.create_key_value(api.KeyValueConfig(backplane.name, history=1, replicas=backplane.replicas))
        bucket = (await stream.stream_info(f"KV_{backplane.name}")).config
    # Facts that go by themselves would be forgotten without a word: no watcher hears of it.
    if bucket.max_age or bucket.storage != api.StorageType.FILE or bucket.subjects != [f"{backplane.facts}>"]:
        raise _other(f"KV_{backplane.name}", "max_age, storage, subjects")
    return info.state


async def _found_or_made(stream: JetStreamContext, wanted: api.StreamConfig) -> api.StreamInfo:
    from nats.js.errors import BadRequestError, NotFoundError

    name = str(wanted.name)
    try:
        return await stream.stream_info(name)
    except NotFoundError:
        pass
    try:
        await stream.add_stream(wanted)
    except BadRequestError as error:
        try:  # another node may have been quicker; with other options, perhaps, and then its hold
            return await stream.stream_info(name)
        except NotFoundError:
            raise error from None
    return await stream.stream_info(name)  # an older server says yes to what it does not know


def _check(has: api.StreamConfig, wanted: api.StreamConfig, name: str) -> None:
    """What an operator may have changed with reason (how long, how much, how many replicas) is left as it is."""
    differing = [
        field
        for field in ("subjects", "retention", "storage", "discard")
        if getattr(has, field) != getattr(wanted, field)
    ]
    if (has.duplicate_window or 0) < (wanted.duplicate_window or 0):
        differing.append("duplicate_window")
    differing += [field for field in ("mirror", "sources", "no_ack", "sealed") if getattr(has, field, None)]
    if differing:
        raise _other(name, ", ".join(differing))


def _other(name: str, fields: str) -> UsageError:
    return UsageError(
        "the stream {name} is there already and is made differently ({fields}); name another one with ?stream=NAME",
        name=name,
        fields=fields,
    )
