"""Settings, all read from the environment; docs/settings.md lists them."""

import logging
import os
import re
import secrets
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import dj_database_url
import plotly
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from reviewapp.server import postgres


def _positive(name: str, value: str) -> float:
    """Return the number that the variable holds; raise ImproperlyConfigured if it is none."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ImproperlyConfigured(f"{name} must be a number above zero, not {value!r}")
    return number


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Return what the variable holds; raise ImproperlyConfigured if it is none of the choices."""
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def _listed(value: str) -> list[str]:
    """Return what stands between the commas of a variable."""
    return [part.strip() for part in value.split(",") if part.strip()]


def _origins(name: str, value: str) -> list[str]:
    """Return the origins that the variable names; raise ImproperlyConfigured if one is none."""
    origins = _listed(value)
    for origin in origins:
        if not re.fullmatch(r"https?://([^\s/\[\]]+|\[[\da-f:.]+\](:\d+)?)", origin):
            example = "https://atlas.example.org"
            raise ImproperlyConfigured(f"{name}: {origin!r} is no origin such as {example}")
    return origins


def _networks(name: str, value: str) -> list[IPv4Network | IPv6Network]:
    """Return the networks that the variable names; raise ImproperlyConfigured if one is none."""
    try:
        return [ip_network(part) for part in _listed(value)]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}") from None


BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = postgres.data_dir()

DEBUG = os.environ.get("DEBUG") == "1"
# Without a SECRET_KEY every start signs with a new one: nothing breaks but open sessions.
SECRET_KEY = os.environ.get("SECRET_KEY") or secrets.token_urlsafe(50)
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *_listed(os.environ.get("ALLOWED_HOSTS") or "")]
CSRF_TRUSTED_ORIGINS = _origins(
    "CSRF_TRUSTED_ORIGINS", os.environ.get("CSRF_TRUSTED_ORIGINS") or ""
)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_htmx",
    "csp",
    "rest_framework",
    "rest_framework.authtoken",
    "drf_spectacular",
    "reviewapp",
    "reviewapp.ui",
    "reviewapp.limits",
    "reviewapp.corpus",
    "taxonomy",
    "casestudies",
]

MIDDLEWARE = [
    "reviewapp.edge.request_log.RequestLog",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "reviewapp.edge.sessions.SessionsMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "reviewapp.edge.unavailable.DatabaseMiddleware",
]

ROOT_URLCONF = "reviewapp.urls"
WSGI_APPLICATION = "reviewapp.wsgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["reviewapp.ui.templatetags.ui"],
        },
    }
]

# `manage.py`, the launcher and the tests set DATABASE_URL before the settings are read;
# the default serves tools that only import the settings, such as mypy.
DATABASE: Any = dj_database_url.parse(os.environ.get("DATABASE_URL") or "postgresql:///peak_atlas")
DATABASE["OPTIONS"] = {"connect_timeout": 5, **DATABASE.get("OPTIONS", {})}
# Each thread keeps its connection; one that a restart of the database has broken is replaced before
# it is used. A pool tries ever more rarely, and comes back long after the database has.
DATABASE["CONN_MAX_AGE"], DATABASE["CONN_HEALTH_CHECKS"] = None, True
DATABASES = {"default": DATABASE}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [("plotly", Path(plotly.__file__).parent / "package_data")]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# Plotly adds an empty <style> and fills it by script, and one with the rules of its maps; the
# hashes allow exactly these two. The second changes when Plotly does: a browser test notices.
PLOTLY_STYLES = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o='",
)
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF, *PLOTLY_STYLES],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True

# The proxies whose X-Forwarded- headers reviewapp.edge.proxies believes.
TRUSTED_PROXIES = _networks("TRUSTED_PROXIES", os.environ.get("TRUSTED_PROXIES") or "")
# Set HTTPS=1 behind a TLS proxy: cookies become secure.
if os.environ.get("HTTPS") == "1":
    if not TRUSTED_PROXIES:
        raise ImproperlyConfigured("HTTPS=1 needs TRUSTED_PROXIES, the address of the proxy")
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 31_536_000

LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "account"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]

DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200

# What one run of a case study may take, and how many one person may have at a time.
RUN_MINUTES = _positive("RUN_MINUTES", os.environ.get("RUN_MINUTES") or "120")
RUN_MEMORY_GIB = _positive("RUN_MEMORY_GIB", os.environ.get("RUN_MEMORY_GIB") or "8")
RUN_LOG_KIB = _positive("RUN_LOG_KIB", os.environ.get("RUN_LOG_KIB") or "1024")
RUNS_RUNNING_PER_USER = _positive(
    "RUNS_RUNNING_PER_USER", os.environ.get("RUNS_RUNNING_PER_USER") or "1"
)
RUNS_QUEUED_PER_USER = _positive(
    "RUNS_QUEUED_PER_USER", os.environ.get("RUNS_QUEUED_PER_USER") or "12"
)

# A token is the only way to be somebody to the API, so no request can be forged from a page.
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
    "DEFAULT_PARSER_CLASSES": ["reviewapp.rest.reading.JSONBody"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "reviewapp.rest.reading.Negotiation",
    "DEFAULT_PAGINATION_CLASS": "reviewapp.rest.pages.Pages",
    "DEFAULT_SCHEMA_CLASS": "reviewapp.rest.description.Description",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_THROTTLE_CLASSES": [
        "reviewapp.limits.throttles.ByAddress",
        "reviewapp.limits.throttles.ByAccount",
    ],
    # Anonymous people are counted by address, others by account; "start" is starting a run.
    "DEFAULT_THROTTLE_RATES": {"anon": "120/min", "user": "600/min", "start": "10/min"},
    "EXCEPTION_HANDLER": "reviewapp.rest.errors.handle",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Peak Atlas",
    "DESCRIPTION": "What the review's publications report, and what the case studies measured."
    " Everybody reads; starting and cancelling a run takes the token of an account that may.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "LICENSE": {"name": "CC BY 4.0", "url": "https://creativecommons.org/licenses/by/4.0/"},
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SERVE_INCLUDE_SCHEMA": False,
    "SORT_OPERATIONS": False,
    "SORT_OPERATION_PARAMETERS": False,
    "POSTPROCESSING_HOOKS": ["reviewapp.rest.description.complete"],
}

LOG_LEVEL = _one_of(
    "LOG_LEVEL",
    os.environ.get("LOG_LEVEL") or "WARNING",
    ("DEBUG", "INFO", "WARNING", "ERROR"),
)


def _refusal_in_one_line(record: logging.LogRecord) -> bool:
    """Let the record pass; one that tells of a refused request, such as a wrong Host, cut short."""
    if record.name.startswith("django.security"):
        record.msg, record.args = f"{record.getMessage():.200}", None
        record.exc_info = None
    return True


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "short": {"()": "django.utils.log.CallbackFilter", "callback": _refusal_in_one_line}
    },
    "formatters": {"line": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["short"],
        },
        "requests": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"},
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        # A visitor's mistyped address is not the operator's problem.
        "django.request": {"level": "ERROR"},
        "reviewapp.edge.request_log": {
            "handlers": ["requests"],
            "level": "INFO" if os.environ.get("LOG_REQUESTS") == "1" else "WARNING",
            "propagate": False,
        },
    },
}
