"""Putting an assistant together: a model, the services that endpoints.yml names, and the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assistant import Assistant
from assistant.action_server import ActionServer
from assistant.nlg_server import NlgServer
from assistant.nlu.pipeline import Pipeline
from assistant.nlu.server import NluServer
from assistant.responses import Responses
from assistant.services import Services
from dialogue.policies.ensemble import Policies

if TYPE_CHECKING:
    from api.endpoints import Endpoints
    from api.settings import Settings
    from assistant import Ledger, Understanding
    from assistant.http import Client
    from assistant.model import Model
    from assistant.reminders import Reminders
    from assistant.wording import Wording
    from eventstore import Turns


def assemble(
    settings: Settings, model: Model, client: Client, ledger: Ledger, turns: Turns, reminders: Reminders
) -> Assistant:
    """The assistant that runs a model. `client` is for all that it calls, and stays the caller's."""
    return Assistant(
        model.domain,
        policies=_policies(model),
        understanding=_understanding(settings, model, client),
        services=_services(settings, model, client),
        ledger=ledger,
        turns=turns,
        marks=model.marks,
        limit=settings.assistant.max_actions,
        reminders=reminders,
    )


def _policies(model: Model) -> Policies | None:
    learned = model.dialogue
    return Policies(model.domain, learned.configs, learned.tables) if learned else None


def _understanding(settings: Settings, model: Model, client: Client) -> Understanding:
    pipeline, endpoint = Pipeline(model.nlu, model.domain), settings.endpoints.nlu
    return pipeline if endpoint is None else NluServer(client, endpoint, model.domain, settings.nlu_model)


def _services(settings: Settings, model: Model, client: Client) -> Services:
    endpoint = settings.endpoints.action_endpoint
    server = None
    if endpoint is not None:
        server = ActionServer(client, endpoint, model.domain, compresses=settings.assistant.compresses)
    return Services(server, _wording(settings.endpoints, client))


def _wording(endpoints: Endpoints, client: Client) -> Wording:
    nlg = endpoints.nlg
    return Responses() if nlg is None or nlg.type == "response" else NlgServer(client, nlg)
