"""What the sections that a unit cannot do without must look like."""

from functools import lru_cache
from typing import Any, Dict, List


@lru_cache(maxsize=1)
def _unit_model() -> Any:
    # pydantic takes longer to import than the rest of the server: after the start, not before.
    import re
    from typing import Annotated, Optional, Union

    from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


    def quantity(unit: str, low: float, high: float) -> Any:
        def check(value: Any) -> Any:
            if isinstance(value, bool) or not isinstance(value, (int, float, str)):
                raise ValueError(f"must be a number of {unit}, such as '{low:g} {unit}'")
            match = re.fullmatch(rf"\s*([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)(?:\s*{unit})?\s*", str(value))
            if not match:
                raise ValueError(f"must be a number of {unit}, such as '{low:g} {unit}'")
            if not low <= float(match[1]) <= high:
                raise ValueError(f"must be from {low:g} to {high:g} {unit}")
            return value

        return Annotated[Union[float, str], BeforeValidator(check)]

    class Section(BaseModel):
        model_config = ConfigDict(extra="allow", strict=True)

    class Location(Section):
        latitude: Optional[quantity("deg", -90, 90)] = None
        longitude: Optional[quantity("deg", -180, 360)] = None
        elevation: Optional[quantity("m", -500, 9000)] = None
        horizon: Optional[quantity("deg", -90, 90)] = None

    port = Annotated[int, Field(ge=1025, le=65534)]

    class Messaging(Section):
        cmd_port: Optional[port] = None
        msg_port: Optional[port] = None

    class Unit(Section):
        name: Optional[Annotated[str, Field(min_length=1, max_length=100)]] = None
        pan_id: Optional[Annotated[str, Field(pattern=r"^PAN\d{3,}$")]] = None
        location: Optional[Location] = None
        directories: Optional[Dict[str, Optional[str]]] = None
        messaging: Optional[Messaging] = None

    return Unit


def problems(config: Dict[str, Any]) -> List[str]:
    """What is wrong with a configuration, one text for each key; empty where nothing is.

    Sections that this project does not know are anyone's own and pass.
    """
    from pydantic import ValidationError

    try:
        _unit_model().model_validate(config)
    except ValidationError as problem:
        return [_sentence(error) for error in problem.errors(include_url=False, include_context=False)]
    return []


def _sentence(error: Dict[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"] if not str(part).startswith(("function-", "union")))
    shown = repr(error["input"])
    reason = str(error["msg"]).replace("Value error, ", "")
    return f"{key}: {shown if len(shown) <= 60 else shown[:60] + '…'} is invalid: {reason}"
