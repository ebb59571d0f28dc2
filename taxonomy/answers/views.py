"""The page that answers a practitioner's question."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from taxonomy.answers.answer import answer_to
from taxonomy.answers.question import FIRST_QUESTION, QuestionForm, filled, read_question
from taxonomy.queries import revision


@require_safe
def answers(request: HttpRequest) -> HttpResponse:
    """Show the answer to what the address asks; without a question, to the first one."""
    asked = any(key in request.GET for key in QuestionForm.base_fields)
    question = read_question(request.GET) if asked else FIRST_QUESTION
    context = {"answer": answer_to(question, revision()), "form": filled(question)}
    return render(request, "taxonomy/answer.html", context)
