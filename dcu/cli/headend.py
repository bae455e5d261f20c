"""`dcu headend`: the head-end engineer's kit: keys, policies, commands, signatures as separate acts, receipts."""

import click

from dcu.cli.headend_command import command
from dcu.cli.headend_files import Kit
from dcu.cli.headend_keys import keys
from dcu.cli.headend_listen import listen
from dcu.cli.headend_mqtt import pki, send
from dcu.cli.headend_policy import permit, policy, policy_template
from dcu.cli.headend_sign import show, sign_command, trace, verify


@click.group(cls=Kit)
def headend() -> None:
    """The head-end's side: keys, policies, commands, signatures, receipts."""


for _command in (
    command,
    keys,
    listen,
    permit,
    pki,
    policy,
    policy_template,
    send,
    show,
    sign_command,
    trace,
    verify,
):
    headend.add_command(_command)
