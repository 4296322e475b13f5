"""What the sections that a unit cannot do without must look like.

The schema is written for pydantic's engine (`pydantic_core`), without pydantic's classes on top: the same checks
and messages for 7 MB of memory instead of 19.
"""

import re
from functools import lru_cache
from typing import Any, Callable, Dict, List, Mapping


@lru_cache(maxsize=1)
def _validator() -> Any:
    # Imported at the first check, so that clients which only read files never load it.
    from pydantic_core import SchemaValidator, core_schema

    def section(**fields: Any) -> Any:
        """A mapping whose named keys, where present and not null, look as told; other keys are anyone's own."""
        return core_schema.typed_dict_schema(
            {
                name: core_schema.typed_dict_field(core_schema.nullable_schema(schema), required=False)
                for name, schema in fields.items()
            },
            extra_behavior="allow",
        )

    def quantity(unit: str, low: float, high: float) -> Any:
        """A number, or text such as `45 deg`, within bounds."""
        return core_schema.no_info_plain_validator_function(_quantity_check(unit, low, high))

    port = core_schema.int_schema(ge=1025, le=65534, strict=True)
    return SchemaValidator(
        section(
            name=core_schema.str_schema(min_length=1, max_length=100, strict=True),
            pan_id=core_schema.str_schema(pattern=r"^PAN\d{3,}$", strict=True),
            location=section(
                latitude=quantity("deg", -90, 90),
                longitude=quantity("deg", -180, 360),
                elevation=quantity("m", -500, 9000),
                horizon=quantity("deg", -90, 90),
            ),
            directories=core_schema.dict_schema(
                values_schema=core_schema.nullable_schema(core_schema.str_schema(strict=True))
            ),
            messaging=section(cmd_port=port, msg_port=port),
        )
    )


def _quantity_check(unit: str, low: float, high: float) -> Callable[[Any], Any]:
    pattern = re.compile(rf"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?:\s*{unit})?\s*", re.ASCII)

    def check(value: Any) -> Any:
        text = "" if isinstance(value, bool) else str(value)
        match = pattern.fullmatch(text)
        if not match:
            raise ValueError(f"must be a number of {unit}, such as '{max(low, 0):g} {unit}'")
        if not low <= float(match[1]) <= high:
            raise ValueError(f"must be from {low:g} to {high:g} {unit}")
        return value

    return check


def problems(config: Dict[str, Any]) -> List[str]:
    """What is wrong with a configuration, one text for each key; empty where nothing is.

    Sections that this project does not know pass.
    """
    from pydantic_core import ValidationError

    try:
        _validator().validate_python(config)
    except ValidationError as error:
        return [_sentence(fault) for fault in error.errors(include_url=False, include_context=False)]
    return []


def _sentence(fault: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    shown = repr(fault["input"])
    reason = str(fault["msg"]).replace("Value error, ", "")
    return f"{key}: {shown if len(shown) <= 60 else shown[:60] + '…'} is invalid: {reason}"
