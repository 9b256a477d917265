"""The paper's studies at small scale, one command each: `python -m trainer.studies STUDY`.

A study says which networks to train on what (`study.Study`), and judges the paper's claims from the
numbers. Everything else is shared: `training` trains one network, `results` keeps what it measured,
and `report` writes table, claims and figure.
"""
