"""The page that answers a practitioner's question, and the claims behind it as files."""

from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from reviewapp.limits.pages import EXPORTS_PER_MINUTE, in_turn, limited
from reviewapp.ui.export import stream
from taxonomy.answers.answer import STRONGEST_FIRST, answer_to
from taxonomy.answers.question import (
    FIRST_QUESTION,
    Question,
    QuestionForm,
    filled,
    read_question,
)
from taxonomy.claims import files
from taxonomy.queries import revision


@require_safe
def answers(request: HttpRequest) -> HttpResponse:
    """Show the answer to what the address asks; without a question, to the first one."""
    question = _asked(request.GET)
    context = {"answer": answer_to(question, revision()), "form": filled(question)}
    return render(request, "taxonomy/answer.html", context)


@require_safe
@limited(EXPORTS_PER_MINUTE)
@in_turn
def export_answer(request: HttpRequest, extension: str) -> StreamingHttpResponse:
    """Return every claim behind the answer, those of its lists that are cut short too."""
    claims: Any = _asked(request.GET).behind_the_answer().order_by(*STRONGEST_FIRST)
    return stream(files.parts(extension, claims, request), "answer", extension)


def _asked(data: QueryDict) -> Question:
    asked = any(key in data for key in QuestionForm.base_fields)
    return read_question(data) if asked else FIRST_QUESTION
