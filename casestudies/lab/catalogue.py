"""The studies by slug. Adding one is a folder beside this file and a line here."""

from casestudies.lab.contract import Study
from casestudies.lab.studies.qmoe import about as qmoe
from casestudies.lab.studies.sparsegpt import about as sparsegpt

STUDIES: dict[str, Study] = {study.slug: study for study in (sparsegpt.STUDY, qmoe.STUDY)}
