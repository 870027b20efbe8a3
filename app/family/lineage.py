"""The family of the current model: which member is on show, what made it, and how to make it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from app.charts import CONFIG
from app.charts.family import KINDS, family_tree
from app.frame.session import PAGES, dark, figures, open_model, store
from app.jobs.starting import verb_word
from app.words import format
from engine.base import numbers
from engine.base.tasks import metric_label
from engine.settings.command import command_of
from engine.workspace.family_scores import families
from engine.workspace.file_facts import facts_of
from engine.workspace.lineage import EXPORTED, Member, family, missing_files, settings_of
from engine.workspace.store import Job, Model

DEMO_COMMAND = "python -m engine.demo.make --save-dir runs/demo"
_ASIDE = "lineage aside"
"Key of what is on show beside the current model: an exported file, or a model that was deleted."
_INDENT = "\u2003"  # as wide as the letter m; a list drops ordinary spaces


def family_of(model: Model) -> list[Member]:
    """Return the family of a model, each member with its figures."""
    members = next(each for each in families(store().models(deleted=True)) if model.id in {one.id for one in each})
    return family(members, store().jobs(("done",)), figures(members, timed=True), model.id)


def shown_member(members: list[Member], current: Model) -> Member:
    """Return the member on show: what was chosen and cannot be the current model, else the current model."""
    by_key = {member.key: member for member in members}
    aside, beside = st.session_state.get(_ASIDE, ("", ""))
    # Choosing another model, here or in the sidebar, is a wish to see that model.
    return by_key.get(aside if beside == current.id else "", by_key[current.id])


def open_member(member: Member) -> None:
    """Make a model the current one, or put on show what cannot be that: an exported file, a deleted model."""
    if member.kind == EXPORTED or member.deleted:
        st.session_state[_ASIDE] = (member.key, st.session_state.get("model_id"))
    else:
        st.session_state.pop(_ASIDE, None)
        open_model(member.key)


def show_tree(members: list[Member], shown: Member) -> None:
    """Draw the family; a click on a member opens it."""
    key = "family tree"

    def picked() -> None:
        points = st.session_state[key].selection.points
        if points:
            open_member(members[points[0]["point_index"]])

    st.plotly_chart(
        family_tree(members, shown.key, dark=dark()),
        config=CONFIG,
        key=key,
        on_select=picked,
        selection_mode="points",
    )
    for member in members:
        if member.conditions:
            st.caption(f"\\* {format.plain(member.name)}: {member.conditions}; not to be held against the others.")


def choose_member(members: list[Member], shown: Member) -> None:
    """Show the same choice as a list, for a keyboard."""
    by_key = {member.key: member for member in members}
    named = {member.key: f"{member.name} (deleted)" if member.deleted else member.name for member in members}
    labels = format.distinct_labels(named)
    st.session_state["lineage member"] = shown.key
    st.selectbox(
        "Open",
        list(by_key),
        format_func=lambda key: _INDENT * by_key[key].depth + labels[key],
        key="lineage member",
        on_change=lambda: open_member(by_key[st.session_state["lineage member"]]),
        help="A member of the family, indented below what it was made from; a model becomes the current one.",
    )


def show_member(member: Member) -> None:
    """Show the numbers of a member, every setting that made it, and the command that repeats it."""
    st.subheader(format.plain(member.name))
    deleted = " · deleted" if member.deleted else ""
    st.caption(f"{KINDS.get(member.kind, member.kind)} · {format.ago(member.created_at)}{deleted}")
    _show_numbers(member)
    if member.kind != EXPORTED and member.size_mb is None:
        _say_that_it_is_gone(member)
    st.markdown("**What made it**")
    _show_command(member)
    settings = settings_of(member.spec)
    if settings:
        _show_settings("lineage settings", settings, _with_names(settings))
    recorded = {} if member.kind == EXPORTED else recorded_settings(member)
    if recorded:
        with st.expander("Everything that the checkpoint records", icon=":material/description:"):
            _show_settings("lineage recorded", recorded, list(recorded.values()))
    _offer_job(member)


def _say_that_it_is_gone(member: Member) -> None:
    was = "was deleted" if member.deleted else "is gone"
    st.warning(
        f"Its file {was}; what is told here is what the workspace remembers. The same file, opened again on Models, "
        "takes this place again.",
        icon=":material/link_off:",
    )
    st.caption(f"SHA-256 {member.digest}")


def _show_settings(key: str, names: Iterable[str], values: list[str]) -> None:
    table = pd.DataFrame({"Setting": list(names), "Value": values})
    # The widths of a column of names and of one of paths, in a panel of about 400 pixels.
    longest = max(map(len, table["Setting"]))
    widths = (110, 300) if longest < 16 else (190, 220)
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            name: st.column_config.TextColumn(width=width) for name, width in zip(table, widths, strict=True)
        },
        key=key,
        height=min(38 + 35 * len(table), 420),
    )


def recorded_settings(member: Member) -> dict[str, str]:
    """Return what a checkpoint says of its own making, the defaults that nobody chose included; empty if it is gone."""
    if member.size_mb is None:
        return {}
    facts = facts_of(store(), store().model(member.key))
    told = {f"training: {key}": value for key, value in facts.training.items()}
    return {key: str(value) for key, value in {**_flat(facts.made), **told}.items() if value is not None}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level: {'sparsity': {'ratio': 0.5}} as {'sparsity ratio': 0.5}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        flat |= _flat(value, f"{name} ") if isinstance(value, dict) else {name: value}
    return flat


def _show_numbers(member: Member) -> None:
    metric, timed = metric_label(member.metric), member.figures.latency
    tiles = {
        "Parameters": (numbers.count(member.params), f"{numbers.exact(member.params)} exactly."),
        numbers.GFLOPS_LABEL: (numbers.gflops(member.gflops), "As Ultralytics counts them."),
        metric: (numbers.score(member.score), _score_help(member)),
        f"{metric} by export": (
            numbers.score_change(member.change),
            "Of the file, less that of its model in FP32: both on single square images, with NMS inside only of boxes "
            "that score above 0.25.",
        ),
        "Ratio": (numbers.ratio(member.ratio), "Share of channels cut, or faded to be."),
        "Latency": (
            numbers.milliseconds(timed.time_ms if timed else None),
            f"Of one image, {timed.conditions}." if timed else None,
        ),
        "File": (numbers.megabytes(member.size_mb), None),
    }
    known = {name: told for name, told in tiles.items() if told[0] != numbers.UNKNOWN}
    with st.grid(2, min_column_width=115):  # in threes the longest label is cut off
        for name, (value, text) in known.items():
            st.metric(name, value, help=text, border=True)


def _score_help(member: Member) -> str:
    if member.conditions:
        return f"Not measured as most of the family was, but otherwise: {member.conditions}."
    return f"Measured as most of the family was, so that it can be held against theirs: {member.figures.conditions}."


def _show_command(member: Member) -> None:
    command = command_of(member.verb, member.spec)
    if command is not None:
        st.code(command, language="bash", wrap_lines=True)
        st.caption(_command_sentence(member.spec))
    elif member.kind == "demo":
        st.code(DEMO_COMMAND, language="bash")
        st.caption("Draws the demo set and trains both demo models again, on the terminal.")
    elif member.kind == "imported":
        st.caption("It was brought into the workspace as it is, so there is no command that makes it.")
    else:
        st.caption("Not enough is recorded to repeat it: what it was made from is no longer in the workspace.")


def _command_sentence(spec: Mapping[str, Any]) -> str:
    """Return what a command is good for, or which files it lacks and what to put back."""
    missing = missing_files(spec)
    if not missing:
        return "Repeats it on the terminal, from the workbench's folder."
    models = {str(model.path): model for model in store().models(deleted=True)}
    said = [f"It cannot be repeated as it stands: {_listed([_name_in(models, path) for path in missing])} missing."]
    for path in missing:
        if model := models.get(path):
            digest = f"the one whose SHA-256 starts with {model.digest[:12]}"
            said.append(f"Put back {model.name}: open its file on Models, {digest}.")
        else:
            said.append(f"Put back {path}.")
    return format.plain(" ".join(said))


def _name_in(models: Mapping[str, Model], path: str) -> str:
    return models[path].name if path in models else Path(path).name


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]} are" if len(names) > 1 else f"{names[0]} is"


def _with_names(settings: dict[str, str]) -> list[str]:
    """Return the values, paths of the workspace's models as their names."""
    names = {str(model.path): model.name for model in store().models(deleted=True)}
    return [names.get(value, value) for value in settings.values()]


def _offer_job(member: Member) -> None:
    job = making_job(store().jobs(("done", "stopped")), member)
    if job is not None:
        st.page_link(
            PAGES / "jobs.py",
            label=f"The job that made it: {verb_word(job.verb).lower()}",
            icon=":material/list_alt:",
            query_params={"job": job.id},
        )


def making_job(finished: list[Job], member: Member) -> Job | None:
    """Return the job that made a member, None where no job did or it was deleted."""
    return next(
        (job for job in finished if member.key in (job.id, *job.model_ids)),
        None,
    )
