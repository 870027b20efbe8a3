"""Prune: slide the ratio, see what is left, then make it so."""

from typing import Any

import streamlit as st

from app.data.choosing import choose_data
from app.data.fit import NOT_YET, goes_together
from app.frame.session import PAGES, explained, gammas, open_model, planner, require_model, store
from app.jobs.live import show_job
from app.jobs.starting import start_training
from app.models import library
from app.plan.accuracy import blocks_of, curve_of, measurable, offer_accuracy, show_sensitivity
from app.plan.latency import latency_costs, predicted_latency
from app.plan.preview import RATIOS, show_curve, show_layers, show_limit, show_numbers
from app.plan.scores import choose_scores, offer_scores, usual_for, with_known_scores
from app.plan.settings import choose_limits, choose_repair, choose_target
from app.plan.tables import WITHIN_BUDGET
from app.training.settings import optimizer_settings, own_size, run_settings
from app.words import format
from app.words.fields import setting
from engine.base import numbers
from engine.base.imgsz import as_size
from engine.profile.gammas import summarise_gammas
from engine.pruning.planning import ProfilePlanner
from engine.settings.requests import PreviewRequest
from engine.verbs import plan_arguments
from engine.verbs.pruning import PlanArguments
from engine.workspace.store import Model


def prune_now(model: Model, spec: dict[str, Any]) -> Model | None:
    with explained(), st.spinner("Pruning…"):
        said: list[str] = []
        made = library.prune_into(store(), model, spec, said.append)
        st.session_state["pruned before"] = " ".join(said)
        return made
    return None


def offer_pruning(model: Model, plan: dict[str, Any], opened: ProfilePlanner, why_not: str) -> None:
    st.subheader("Make the smaller model")
    with st.container(border=True):
        data = choose_data(model, "finetune")
        spec = run_settings("finetune", **own_size(opened), epochs=10)
        with st.expander("Optimizer", icon=":material/speed:"):
            spec |= optimizer_settings("finetune", lr0=setting("finetune", "lr0").default)
        # What scores were computed on recalibrates too.
        plan = {**plan, "data": plan.get("data") or data, **choose_repair()}
        unfed = bool(plan["recalibrate"]) and plan["data"] is None
        agreed = data is None or goes_together(opened, data, "finetune", pruned=True)
        with st.container(horizontal=True, vertical_alignment="center"):
            both = st.button(
                "Prune and fine-tune",
                key="prune and finetune",
                type="primary",
                icon=":material/play_arrow:",
                disabled=bool(why_not) or data is None or not agreed,
                help="Prunes, then trains the smaller model in the background with these settings.",
            )
            alone = st.button(
                "Prune only",
                key="prune",
                icon=":material/content_cut:",
                disabled=bool(why_not) or unfed,
                help="Writes a physically smaller checkpoint into the workspace; the original stays as it is.",
            )
            if why_not:
                st.caption(why_not, width="content")
            elif unfed:
                st.caption("Recalibration needs a data set.", width="content")
            elif not agreed:
                st.caption(f"To fine-tune it: {NOT_YET[0].lower()}{NOT_YET[1:]}", width="content")
        if (both or alone) and (made := prune_now(model, plan)):
            st.session_state["pruned"] = (model.id, made.id)
            if both:
                with explained(stop=True):
                    st.query_params["job"] = start_training("finetune", made, {"data": data, **spec}).id
                    st.rerun()
        show_pruned(model)


def show_pruned(model: Model) -> None:
    source, pruned_id = st.session_state.get("pruned", (None, None))
    made = next((other for other in store().models() if other.id == pruned_id), None)
    if source != model.id or made is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        known = format.plain(st.session_state.get("pruned before", ""))
        said = known or f"Made **{format.plain(made.name)}**, {numbers.count(made.params)} parameters."
        st.markdown(said, width="content")
        chosen = st.button("Open the pruned model", key="open pruned", help="Makes it the current model.")
    st.caption(
        "Fine-tune it here or on the Train page. Stock Ultralytics training would rebuild the full network, so it "
        "stops at this file and says so."
    )
    if chosen:
        open_model(made.id)
        st.switch_page(PAGES / "models.py", query_params={"model": made.id})


def _arguments(model: Model, spec: dict[str, Any]) -> PlanArguments:
    return plan_arguments(PreviewRequest.read({**spec, "imgsz": as_size(spec["imgsz"]), "weights": str(model.path)}))


@st.fragment
def workbench(model: Model, opened: ProfilePlanner, usual: str) -> None:
    spec, why_not = choose_target(model, opened)
    curve, numbers = st.container(), st.container()
    known = blocks_of(model)
    spec |= choose_limits(opened) | choose_scores(model, usual, known[0] if known else None)
    wanted = spec
    with curve, explained(stop=True):
        asked = with_known_scores(opened, _arguments(model, spec), spec)
        scored = asked is not None
        if asked is None:
            spec = {**spec, "criterion": "gamma"}
            asked = _arguments(model, spec)
        timed = latency_costs(opened, asked.imgsz)  # for the curve as well, whatever the plan is made for
        plan = opened.plan(asked.target, asked.settings, asked.imgsz, asked.importance, timed)
        preview = opened.describe(plan, asked.imgsz)
        costs = opened.curve(RATIOS, asked.settings, asked.imgsz, asked.importance, timed)
        latency = predicted_latency(timed, asked.imgsz, plan.keep)
    by_ratio = "prune_ratio" in spec
    within_budget = not by_ratio and bool(plan.keep.all())
    accuracy = curve_of(model, asked)
    with curve:
        show_curve(preview, costs, accuracy)
        offer_scores(model, wanted, known=scored)
        if measurable(opened):
            offer_accuracy(model, opened, spec, accuracy)
    with numbers:
        show_numbers(preview, accuracy, latency, by_ratio=by_ratio)
        if within_budget:
            st.caption(WITHIN_BUDGET)
        else:
            show_limit(preview, asked.settings.floor)
    show_layers(preview)
    if measurable(opened):
        show_sensitivity(model, opened, spec)
    offer_pruning(model, spec, opened, "Nothing to prune." if within_budget else why_not)


st.title("Prune")
model = require_model("Here you slide the prune ratio and see at once what the model then costs.")
with explained(stop=True):
    opened = planner(model)
    summary = summarise_gammas(gammas(model))
if not summary.sparse and model.kind not in ("pruned", "finetuned"):
    st.info(format.plain(summary.verdict), icon=":material/info:")
    st.page_link(PAGES / "train.py", label="Start sparse training", icon=":material/model_training:")
workbench(model, opened, usual_for(model, opened))  # outside what a move of the slider runs again
if job_id := st.query_params.get("job"):
    st.divider()
    show_job(job_id, manage=False)
