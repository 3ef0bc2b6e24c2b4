"""The parts that every Emendo process shares: settings, key names, the Celery app, the index schema and logging."""

from emendo_config.errors import ConfigurationError, EmendoError
from emendo_config.gateway_settings import GatewaySettings
from emendo_config.settings import Settings
from emendo_config.store.keys import Keys

__all__ = ["ConfigurationError", "EmendoError", "GatewaySettings", "Keys", "Settings"]
