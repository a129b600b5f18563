"""Classification: a picture has one class, and the network says how probable each is."""

from __future__ import annotations

from typing import Any

from vcmbench.tasks.kind import Answer, Kind, Part, Truth

_MOST_CLASSES = 1 << 20


class ClassificationKind(Kind):
    """A part is {"right": [0 or 1, 1], "class", "probability"}: of the class that the answer is held against. The truth
    against labels is the folder that a picture lies in."""

    measures = {"accuracy": "Top-1 accuracy"}  # noqa: RUF012

    def count(self, answer: Answer, pristine: Answer | None, truth: Truth, classes: tuple[str, ...]) -> Part:
        def against(wanted: int) -> Part:
            return {
                "right": [int(int(answer.argmax()) == wanted), 1],
                "class": wanted,
                "probability": float(answer[wanted]),
            }

        label = classes.index(truth.folder) if truth.folder in classes else None
        seen = [int(answer.argmax()), None if pristine is None else int(pristine.argmax()), label]
        return {
            "class": int(answer.argmax()),
            "names": {str(number): classes[number] for number in seen if number is not None},
            "pseudo": None if pristine is None else against(int(pristine.argmax())),
            "labels": None if label is None else against(label),
            "notes": {} if label is not None else {"labels": "the picture's folder is not named as one of the classes"},
        }

    def is_part(self, part: Any, classes: int) -> bool:
        if not isinstance(part, dict) or not 0 < classes < _MOST_CLASSES:
            return False
        right, which, probability = part.get("right"), part.get("class"), part.get("probability")
        return (
            right in ([0, 1], [1, 1])
            and isinstance(which, int) and not isinstance(which, bool) and 0 <= which < classes
            and isinstance(probability, int | float) and not isinstance(probability, bool) and 0 <= probability <= 1
        )  # fmt: skip

    def sums(self, part: Part, classes: int) -> dict[str, tuple[float, float]]:
        return {"accuracy": (part["right"][0], part["right"][1])}

    def correlated(self, measure: str) -> tuple[str, str]:
        return "probability", "probability of the class"

    def correlated_score(self, part: Part, classes: int, measure: str) -> float | None:
        return float(part["probability"])

    def heading(self, measure: str) -> tuple[str, str]:
        return "top1", self.measures[measure]

    def answers(self, record: Part) -> tuple[str, str]:
        return _name(record, record["pseudo"]["class"]), _name(record, record["class"])

    def facts(self, record: Part) -> list[tuple[str, str]]:
        named = _name(record, record["pseudo"]["class"])
        return [(f"Probability of {named}", f"{record['pseudo']['probability']:.3f}")]


def _name(record: Part, number: int) -> str:
    """What a class is called; its number where a record of before does not know."""
    return str(record.get("names", {}).get(str(number), f"class {number}"))
