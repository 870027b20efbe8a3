"""Show how the current model and the chosen data set go together, and ask before training changes the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import pandas as pd
import streamlit as st

from app.data.choosing import dataset_info
from app.frame.session import explained
from app.words import format
from engine.datasets.fit import FITS, REFUSED, Fit, data_facts, fit_for_measuring, fit_for_training
from engine.profile.facts import ModelFacts
from engine.pruning.planning import ProfilePlanner
from engine.settings.arguments import asked_single_cls
from engine.settings.verb_facts import TRAINING

NOT_YET = "Choose another data set, or see above what stands against this one."
_ROWS = 8
_MODEL = "This model"
"In sentences; the file has a name that only the workspace uses."


def goes_together(
    opened: ProfilePlanner, data: str, verb: str, settings: Mapping[str, Any] | None = None, *, pruned: bool = False
) -> bool:
    """Show what a person should know of a model and a data set, and return whether the verb may start.

    Nothing is shown or asked where they fit. Before a training that changes the model a tick is asked for.

    Args:
        opened: The model.
        data: Path of the data set's description.
        verb: What would be started.
        settings: With what; they may say whether all classes count as one, else it is as the model was trained.
        pruned: The model will be pruned before it is trained.
    """
    with explained():
        single_cls = asked_single_cls(settings or {})
        facts = opened.facts.fitting
        facts = facts if single_cls is None else replace(facts, single_cls=single_cls)
        if verb not in TRAINING:
            return measured_together(facts, data, opened.facts.task)
        info = dataset_info(data, opened.facts.task)
        fit = fit_for_training(replace(facts, pruned=pruned or facts.pruned), data_facts(info))
        fit = replace(fit, sentence=fit.sentence.replace(opened.facts.fitting.name, _MODEL))
        if not _shown(fit):
            return False
        return not fit.asks or st.checkbox(
            "Train on this data set all the same",
            key=f"agree {opened.digest} {verb} {data} {single_cls}",
            help="What is said above then happens to a copy; the model itself stays as it is.",
        )
    return False


def measured_together(facts: ModelFacts, data: str, task: str) -> bool:
    """Show what a person should know of a model and a data set to measure it on; return whether that can be done."""
    with explained():
        return _shown(fit_for_measuring(replace(facts, name=_MODEL), data_facts(dataset_info(data, task))))
    return False


def _shown(fit: Fit) -> bool:
    """Show the sentence, and both lists of classes where they differ; return whether it can be done at all."""
    if fit.verdict == FITS:
        if fit.sentence:
            st.caption(format.plain(fit.sentence))
        return True
    if fit.verdict == REFUSED:
        st.error(format.plain(fit.sentence), icon=":material/error:")
    else:
        st.warning(format.plain(fit.sentence), icon=":material/difference:")
    if fit.model_names != fit.data_names:
        table = class_table(fit)
        number = st.column_config.NumberColumn(width=80)
        st.dataframe(table, hide_index=True, height=36 + 35 * min(len(table), _ROWS), column_config={"Number": number})
    return fit.verdict != REFUSED


def class_table(fit: Fit) -> pd.DataFrame:
    """Return the classes of a model and of a data set side by side, by their number."""
    pairs = list(zip_longest(fit.model_names, fit.data_names, fillvalue="–"))
    return pd.DataFrame(
        {
            "Number": range(len(pairs)),
            "The model knows": [model for model, _ in pairs],
            "The data set describes": [data for _, data in pairs],
        }
    )
