"""What the web process and the worker load."""

import os
import subprocess
import sys


def test_neither_the_site_nor_the_worker_imports_torch() -> None:
    load_all = (
        "import sys, django; django.setup();"
        "import reviewapp.wsgi, reviewapp.urls, casestudies.worker.loop;"
        "from casestudies.management.commands import worker;"
        "from casestudies.lab.catalogue import STUDIES;"
        "[study.parameters.model_json_schema() for study in STUDIES.values()];"
        "print(sorted({'torch', 'numba', 'gguf'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", load_all],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "reviewapp.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
