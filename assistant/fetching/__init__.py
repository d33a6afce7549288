"""Models from elsewhere: from a model server, or from a storage in a cloud."""

from assistant.fetching.fetched import Fetched, ModelUnavailable
from assistant.fetching.server import from_server
from assistant.fetching.storage import from_storage

__all__ = ["Fetched", "ModelUnavailable", "from_server", "from_storage"]
