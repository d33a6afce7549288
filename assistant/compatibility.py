"""The Rasa whose protocol is spoken here."""

from __future__ import annotations

from typing import Final

RASA_VERSION: Final = "3.6.21"  #: clients and action servers compare it
