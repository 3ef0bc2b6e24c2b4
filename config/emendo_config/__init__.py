"""What every Emendo process shares: settings, key names, the Celery app, the index schema and logging."""

from emendo_config.errors import ConfigurationError, EmendoError
from emendo_config.keys import Keys
from emendo_config.settings import Settings

__all__ = ["ConfigurationError", "EmendoError", "Keys", "Settings"]
