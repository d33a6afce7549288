"""Putting an assistant together: a model, the services that endpoints.yml names, and the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from assistant import Assistant
from assistant.action_server import ActionServer
from assistant.customs import PRESENT
from assistant.nlg_server import NlgServer
from assistant.nlu.pipeline import Pipeline
from assistant.nlu.server import NluServer
from assistant.older_customs import Older
from assistant.older_messages import OlderMessages
from assistant.responses import Responses
from assistant.services import Services
from dialogue.policies.ensemble import Policies

if TYPE_CHECKING:
    from api.endpoints import Endpoints
    from api.process import Process
    from api.settings import Settings
    from assistant import Ledger, Understanding
    from assistant.http import Client
    from assistant.model import Model
    from assistant.wording import Wording


def assemble(process: Process, model: Model, ledger: Ledger) -> Assistant:
    """The assistant that runs a model in a process."""
    settings, client = process.settings, process.client
    return Assistant(
        model.domain,
        policies=_policies(model),
        understanding=understanding_of(settings, model, client),
        services=_services(settings, model, client),
        ledger=ledger,
        turns=process.store.turns,
        marks=model.marks,
        limit=settings.assistant.max_actions,
        reminders=process.reminders,
        lines=process.lines,
        customs=Older() if settings.protocol == "0.9" else PRESENT,
    )


def _policies(model: Model) -> Policies | None:
    learned = model.dialogue
    return Policies(model.domain, learned.configs, learned.tables) if learned else None


def understanding_of(settings: Settings, model: Model, client: Client) -> Understanding:
    """Who says what messages mean."""
    if settings.protocol != "0.9":
        return _nlu(settings, model, client)
    has_nlu = settings.endpoints.nlu is not None or model.nlu.components
    return OlderMessages(_nlu(settings, model, client) if has_nlu else None)


def _nlu(settings: Settings, model: Model, client: Client) -> Understanding:
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
