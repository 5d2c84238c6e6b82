"""What a method or a sketch can be set to: a class in its own file, which says all of it once.

    class QuantizeSettings(Settings):
        bits: Annotated[Literal[2, 4, 8], Setting("{} bits", varies=True, amount=True)] = 8

From this follow the keys of a profile's grid, the columns of a row and the words of a label. The
line in the registry names the class, and the file that it stands in can be imported without torch.
"""

from dataclasses import dataclass

from pydantic.fields import FieldInfo

from rmmbench.spec.strict import Strict


@dataclass(frozen=True)
class Setting:
    """What is said of one setting beside its type, range and default.

    Attributes:
        words: How people write it: "{} bits"; empty where a label says it otherwise, or not at all.
        varies: Whether it is an axis of a grid, which takes several values. Labels always say it,
            and it is None in a row of what has no such setting. Other settings have one value a
            grid; labels say it where it is not the default, which is in every row.
        amount: Whether it says how much is kept.
        alone: How people write it behind the method's name, if it is the only amount there.
        instead_of: The setting that it can be given in place of; a grid must have one of the two.
    """

    words: str = ""
    varies: bool = False
    amount: bool = False
    alone: str = ""
    instead_of: str = ""


class Settings(Strict):
    """Everything that one method or one sketch is set to; as it stands here, nothing.

    Two that have a setting of one name mean the same by it, and say the same of it. A default stays
    as it is for good: records and keys of cases leave it out.
    """

    @classmethod
    def declared(cls) -> dict[str, Setting]:
        """Return what is said of each setting, by name, in the order they stand."""
        return {name: _said(field) for name, field in cls.model_fields.items()}


def _said(field: FieldInfo) -> Setting:
    return next((each for each in field.metadata if isinstance(each, Setting)), Setting())
