"""The base of all settings: how they are read from the environment, and how a wrong one is refused."""

from __future__ import annotations

from typing import Any, get_args

import pydantic
from pydantic_settings import BaseSettings, SettingsConfigDict

from emendo_config.errors import ConfigurationError


class EnvironmentSettings(BaseSettings):
    """Settings whose variables begin with `model_config["env_prefix"]`.

    Raises:
        ConfigurationError: a value has the wrong form; the message names the variable and never the value.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except pydantic.ValidationError as error:
            problems = "; ".join(
                f"{self.variable('_'.join(str(part) for part in item['loc']))}: {item['msg']}"
                for item in error.errors(include_input=False, include_url=False)
            )
            raise ConfigurationError(
                f"invalid settings: {problems}", suggestion="see docs/reference/settings.md"
            ) from None

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _check_number(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """Python reads `1_0` as ten, where a slip was meant to be 1.0 or 10."""
        if isinstance(value, str) and "_" in value:
            kind = cls.model_fields[str(info.field_name)].annotation
            if {kind, *get_args(kind)} & {int, float}:
                raise ValueError("a number has no underscore")
        return value

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of a setting."""
        return f"{cls.model_config['env_prefix']}{name.upper()}"

    @classmethod
    def variables(cls) -> list[str]:
        """The environment variables of all settings, in their order."""
        return [cls.variable(name) for name in cls.model_fields]
