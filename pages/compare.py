"""Compare: any number of models side by side, in numbers and on images."""

import streamlit as st

from app.comparison import address, side_by_side
from app.comparison.predictions import show_predictions
from app.comparison.side_by_side import Conditions, SideBySide
from app.comparison.views import show_by_class, show_scatter, show_table
from app.data.choosing import choose_data
from app.data.fit import measured_together
from app.frame.session import explained, require_model, store
from app.jobs.live import show_job
from app.training.settings import COMMON, run_settings
from app.words import format
from engine.base.tasks import TASKS
from engine.workspace.store import Model

VIEWS = ("Accuracy against cost", "By class", "On images")


def choose_models(current: Model) -> tuple[list[Model], Model | None]:
    models = store().models()
    by_id = {model.id: model for model in models}
    labels = format.distinct_labels({model.id: model.name for model in models})
    usual = side_by_side.relatives(store().models(deleted=True), current)
    key = f"compare models {current.id}"
    if key not in st.session_state:
        st.session_state[key] = address.models_to_show(current, by_id, usual)
    chosen = st.multiselect(
        "Models",
        list(by_id),
        format_func=format.labels_of(labels),
        key=key,
        placeholder="Choose models",
        help="Any number of models of the same task and classes; the current model and its relatives to start with.",
    )
    oldest = side_by_side.default_reference([by_id[each] for each in chosen], store().lineage(current.id))
    wanted = address.reference_to_show(chosen, oldest)
    reference = st.selectbox(
        "Changes against",
        chosen,
        index=chosen.index(wanted) if wanted else None,
        format_func=format.labels_of(labels),
        key=f"compare reference {current.id}",
        placeholder="Choose models first",
        help="The model that every change is told against: the dense ancestor to start with.",
    )
    address.keep_models(current, chosen, usual)
    address.keep("reference", reference, oldest)
    return [by_id[each] for each in chosen], by_id.get(reference or "")


def choose_conditions(current: Model, reference: Model) -> tuple[Conditions | None, int]:
    """Return what accuracy is measured with, None where it is not, and the image size that latency is measured at."""
    facts = side_by_side.size_of(reference).facts
    trained = facts.trained_imgsz
    if facts.task not in TASKS:
        st.caption(f"Models for {facts.task} are compared by their size alone: their accuracy cannot be measured here.")
        return None, trained
    address.restore_conditions(f"compare imgsz {trained}", "compare batch", "compare split")
    st.session_state.setdefault("compare split", "val")
    grid = st.grid(2, min_column_width=300)
    left, right = grid.container(), grid.container()
    with right:
        data = choose_data(current, "compare")
        if data is None:
            st.caption("With a data set, accuracy is measured as well.")
        elif not measured_together(facts.fitting, data, facts.task):
            data = None
    with left:
        spec = run_settings("compare", imgsz=trained, stride=facts.stride, epochs=None, columns=3, persist="session")
        split = st.segmented_control(
            "Split",
            address.SPLITS,
            required=True,
            key="compare split",
            persist_state="session",
            help="Which images to measure on.",
        )
    for name, value, usual in (
        ("imgsz", spec["imgsz"], trained),
        ("batch", spec["batch"], COMMON["batch"]),
        ("split", split, "val"),
    ):
        address.keep(name, value, usual)
    return (Conditions(data, split, **spec) if data and split else None), spec["imgsz"]


def offer_measurements(found: SideBySide, conditions: Conditions | None, busy: bool) -> None:
    count = len(found.missing) if conditions else 0
    with st.container(horizontal=True, vertical_alignment="center"):
        if (
            conditions
            and count
            and st.button(
                "Measure it" if count == 1 else f"Measure {count} models",
                key="measure",
                type="primary",
                icon=":material/speed:",
                disabled=busy,
                help="Validates, in the background, what was not measured under these conditions; the rest is known.",
            )
        ):
            with explained(stop=True):
                st.query_params["job"] = side_by_side.start_comparison(found, conditions, model).id
                st.rerun()
        if st.button(
            "Measure again" if found.latency else "Measure latency",
            key="measure latency",
            icon=":material/timer:",
            disabled=busy,
            help="Times all of them in turns in ONNX Runtime on this machine's processor, in the background.",
        ):
            with explained(stop=True):
                st.query_params["job"] = side_by_side.start_latency(found, found.comparison.imgsz, model).id
                st.rerun()
        if count:
            st.caption(
                f"Not measured under these conditions: {format.plain(side_by_side.missing_words(found))}",
                width="stretch",
                help="In brackets what is known otherwise, and shown on Models and Lineage.",
            )


st.title("Compare")
model = require_model("Here models stand side by side: size, cost, accuracy, and what each of them finds.")
chosen, reference = choose_models(model)
if reference is None:
    st.info("Choose at least one model.", icon=":material/info:")
    st.stop()
with explained(stop=True):
    conditions, latency_imgsz = choose_conditions(model, reference)
    found = side_by_side.look_up(chosen, reference, conditions, latency_imgsz)
for sentence in found.refused:
    st.warning(format.plain(sentence), icon=":material/block:")
job = side_by_side.job_to_show(store().jobs(), st.query_params.get("job"))
offer_measurements(found, conditions, busy=job is not None and not job.finished)
if job:
    with st.container(border=True):
        show_job(job.id, manage=False)
show_table(found)
if side_by_side.size_of(reference).facts.task not in TASKS:
    st.stop()
view = st.segmented_control(
    "View", VIEWS, default=VIEWS[0], required=True, key="compare view", persist_state="session",
    label_visibility="collapsed", help="What to look at more closely.",
)  # fmt: skip
if view == "Accuracy against cost":
    show_scatter(found)
elif view == "By class":
    show_by_class(found)
elif conditions:
    show_predictions(found, conditions.data, conditions.split, conditions.imgsz)
else:
    st.caption("Choose a data set to see what the models find on its images.")
