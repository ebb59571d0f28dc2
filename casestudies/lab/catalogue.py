"""The studies by slug. Adding one is a folder beside this file and a line here."""

from casestudies.lab.contract import Study
from casestudies.lab.qmoe import about as qmoe
from casestudies.lab.sparsegpt import about as sparsegpt

STUDIES: dict[str, Study] = {study.slug: study for study in (sparsegpt.STUDY, qmoe.STUDY)}
