"""Form fields that take no more than they say."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError


class WholeNumberField(forms.IntegerField):
    """A whole number in the digits 0 to 9: Python would take "1_0", and digits of other scripts."""

    def to_python(self, value: Any) -> int | None:
        """Return the number, None where there is none; raise ValidationError."""
        if value not in self.empty_values and not re.fullmatch(r"-?[0-9]+", str(value)):
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(value)


class NumberField(forms.FloatField):
    """A number as JSON writes it, in the digits 0 to 9."""

    def to_python(self, value: Any) -> Any:
        """Return the number, None where there is none; raise ValidationError."""
        as_json = r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?"
        if value not in self.empty_values and not re.fullmatch(as_json, str(value)):
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(value)
