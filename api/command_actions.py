"""`turnlog run actions`: a project's actions run in rasa-sdk's server, and this says how to start it."""

from __future__ import annotations

from typing import Final

import click

from api.command_line import FlagsCommand

HOW_TO: Final = """\
The actions of a project run in a server of their own, which is Rasa's package rasa-sdk. In the project's folder:

  python3 -m venv .venv-actions
  .venv-actions/bin/pip install --ignore-requires-python rasa-sdk==3.6.2
  .venv-actions/bin/python -m rasa_sdk --actions actions

The last command does what `rasa run actions` does, and takes the same flags (--port, --cors, --auto-reload ...).
What follows --actions is the package or module that holds the actions: actions/ or actions.py.

Then say in endpoints.yml where the server is:

  action_endpoint:
    url: http://localhost:5055/webhook

rasa-sdk 3.6 is made for Python 3.8 to 3.10, and runs with newer ones too. These build a part of it, and need a C
compiler for that. In Docker:

  docker run -p 5055:5055 -v "$PWD/actions:/app/actions" rasa/rasa-sdk:3.6.2
"""


class RunCommand(FlagsCommand):
    """`turnlog run`, or with the word `actions` behind it, and any flags of Rasa's command, the text above."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The rest of the arguments. Prints the text and exits with 0 if it is asked for."""
        if args[:1] == ["actions"]:
            click.echo(HOW_TO, nl=False)
            ctx.exit()
        return super().parse_args(ctx, args)
