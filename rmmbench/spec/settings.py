"""The base class of a method's or a sketch's settings; each declares them once, in its own file.

    class QuantizeSettings(Settings):
        bits: Annotated[Literal[2, 4, 8], Setting("{} bits", varies=True, amount=True)] = 8

The keys of a profile's grid, the columns of rows and the words of labels follow from this. The line
in the registry names the class; importing its file must not need torch.
"""

from dataclasses import dataclass

from pydantic.fields import FieldInfo

from rmmbench.spec.strict import Strict


@dataclass(frozen=True)
class Setting:
    """What a setting has besides its type, range and default.

    Attributes:
        words: Its text in labels: "{} bits"; empty if labels do not show it, or in another form.
        varies: Whether it is an axis of a grid, which takes several values. Labels always show such
            a setting, and rows of methods without it have None. Other settings have one value per
            grid; labels show them if they are not the default, and all rows have a value.
        amount: Whether it says how much is kept.
        alone: Its text after the method's name, if it is the only amount.
        instead_of: The setting that it replaces; a grid must have one of the two.
    """

    words: str = ""
    varies: bool = False
    amount: bool = False
    alone: str = ""
    instead_of: str = ""


class Settings(Strict):
    """The settings of one method or sketch; this base class has none.

    Settings of the same name have the same meaning and declaration everywhere. A default must never
    change, because records and keys of cases leave it out.
    """

    @classmethod
    def declared(cls) -> dict[str, Setting]:
        """Return the declaration of each setting by name, in order."""
        return {name: _said(field) for name, field in cls.model_fields.items()}


def _said(field: FieldInfo) -> Setting:
    return next((each for each in field.metadata if isinstance(each, Setting)), Setting())
