"""What the process that answers a question is told: one line of JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from catalog.lake.reading import LakePlace, load_place
from catalog.query.question import Format, Limits, Question
from catalog.query.views import AsOf


@dataclass(frozen=True, slots=True)
class Task:
    """What the process is told: `folder` is its own, for the answer and what it spills. As text it holds secrets."""

    place: LakePlace
    folder: Path
    question: Question
    limits: Limits
    form: Format

    def dump(self) -> str:
        """As one line."""
        question, as_of = self.question, self.question.as_of
        return json.dumps(
            {
                "place": self.place.dump(),
                "folder": str(self.folder),
                "sql": question.sql,
                "parameters": dict(question.parameters),
                "as_of": [as_of.moment and as_of.moment.isoformat(), as_of.repository, as_of.version],
                "within": question.within,
                "limits": [getattr(self.limits, name) for name in Limits.__slots__],
                "form": self.form,
            }
        )


def load_task(line: str) -> Task:
    """Read what `dump` wrote."""
    told: Mapping[str, Any] = json.loads(line)
    moment, repository, version = told["as_of"]
    as_of = AsOf(datetime.fromisoformat(moment) if moment else None, repository, version)
    place, folder = load_place(told["place"]), Path(told["folder"])
    within = None if told["within"] is None else tuple(told["within"])
    question = Question(told["sql"], told["parameters"], as_of, within)
    return Task(place, folder, question, Limits(*told["limits"]), told["form"])
