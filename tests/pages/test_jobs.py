"""The Jobs page: every state a job can be in, and the chain it belongs to. No worker runs here."""

import pytest

from app.jobs import chains, measured_views
from engine.settings.results import parsed
from engine.workspace.store import ChainPlace, Store
from tests.results import compared, written

GAMMAS = {
    "median": 0.5, "p10": 0.1, "p90": 1.0, "below_1e-2": 0.4, "zero": 0.3, "free_ratio": 0.25,
    "histogram": [[0.0, 0.5, 1.0], [3, 4]],
}  # fmt: skip


@pytest.fixture
def store(workspace):
    return Store(workspace)


@pytest.fixture
def show(open_page):
    """Return a function that opens the Jobs page at a job."""

    def open_at(job):
        app = open_page("jobs")
        app.query_params["job"] = job.id
        app.run()
        assert not app.exception
        return app

    return open_at


def add(store, verb="sparsify", device="cpu", **changed):
    return store.add_job(verb, {"weights": "x.pt", "device": device, **changed}, f"Some {verb}")


def report_epochs(store, job, count: int) -> None:
    metrics = {"mAP50": 0.5, "mAP50-95": 0.3}
    events = [
        {"kind": "epoch", "epoch": number, "epochs": 4, "metrics": metrics, "losses": {}, "gammas": GAMMAS}
        for number in range(1, count + 1)
    ]
    store.append_events(job.id, events)


def keys(app) -> set[str]:
    return {button.key.split()[0] for button in app.button if button.key}


def test_a_waiting_job_says_its_place_in_line(show, store):
    first, second, other = add(store), add(store), add(store, device="0")
    assert any("2nd in line for the CPU" in bar.text for bar in show(second).get("progress"))
    assert list(show(first).dataframe[0].value["State"]) == [
        "Queued, next in line", "Queued, 2nd in line", "Queued, next in line",
    ]  # fmt: skip
    assert other.devices == ("cuda:0",)


@pytest.mark.parametrize("state", ["stopped", "failed", "interrupted"])
def test_a_training_that_ended_early_can_be_resumed(show, store, state):
    job = add(store)
    report_epochs(store, job, 2)
    store.finish_job(job.id, state, error=None if state == "stopped" else "Memory ran out: use a smaller batch.")
    store.job_folder(job.id).mkdir(parents=True)
    (store.job_folder(job.id) / "log.txt").write_text("step 7 of 9\nMemory ran out: use a smaller batch.\n")
    app = show(job)
    assert {"resume", "retry"} <= keys(app)
    if state == "stopped":
        assert any("epoch 2 of 4" in element.value for element in app.info)
    else:
        assert [element.value for element in app.error] == ["Memory ran out: use a smaller batch."]
        assert app.code[0].value == "step 7 of 9"


def test_a_reason_names_models_and_not_their_files(show, store, tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    model = store.add_model(path, "Mine", "imported")
    job = add(store, "compare")
    store.finish_job(job.id, "failed", error=f"There is no file {model.path}; check the path.")
    assert [element.value for element in show(job).error] == ["There is no file Mine; check the path."]


def test_what_did_no_epoch_or_is_no_training_can_only_be_tried_again(show, store):
    for verb in ("sparsify", "val"):
        job = add(store, verb)
        store.finish_job(job.id, "failed", error="No data.")
        app = show(job)
        assert "resume" not in keys(app) and app.button(key=f"retry {job.id}").label == "Try again"


def test_resume_goes_on_in_the_same_job(show, store, monkeypatch):
    from engine import jobs

    job = add(store)
    report_epochs(store, job, 1)
    store.finish_job(job.id, "stopped")
    monkeypatch.setattr(jobs, "resume", lambda where, job_id: where.requeue_job(job_id))
    app = show(job)
    app.button(key=f"resume {job.id}").click().run()
    assert not app.exception and not app.error
    (again,) = store.jobs()
    assert (again.id, again.state, again.spec["resume"]) == (job.id, "queued", True)


def test_a_sparse_run_shows_what_is_free_to_prune(show, store):
    job = add(store)
    report_epochs(store, job, 3)
    app = show(job)
    metrics = {metric.label: metric.value for metric in app.metric}
    assert metrics["Free to prune"] == "25.0\u00a0%" and metrics["Gammas at zero"] == "30.0\u00a0%"
    assert len(app.get("plotly_chart")) == 3


def test_fine_tuning_and_comparison_show_their_tables(show, store):
    row = {"weights": "a.pt", "params": 10, "metrics": {"mAP50": 0.5, "mAP50-95": 0.25}}
    tuned = add(store, "finetune")
    store.finish_job(
        tuned.id, "done", written("finetune", comparison=[{**row, "role": "parent"}, {**row, "role": "child"}])
    )
    assert "After fine-tuning" in list(show(tuned).dataframe[1].value[""])
    measured = compared(**row, name="a", per_class={"ship": 0.2})
    side_by_side = add(store, "compare")
    store.finish_job(side_by_side.id, "done", written("compare", models=[measured], reference="a.pt"))
    app = show(side_by_side)
    assert list(app.dataframe[1].value["Model"]) == ["a"]
    assert list(app.dataframe[2].value["Class"]) == ["ship"]


VERDICT = {
    "against": "parent", "weights": "/ada/pruned.pt", "metric": "mAP50-95", "value": 0.708, "other": 0.716,
    "low": -0.021, "high": -0.004, "images": 120, "judgement": "worse", "sentence": "Worse than before.",
}  # fmt: skip


@pytest.mark.parametrize(("judgement", "colour"), [("worse", "warning"), ("same", "info"), ("better", "success")])
def test_the_verdict_decides_the_colour_and_not_the_last_epoch(show, store, judgement, colour):
    job = add(store, "finetune")
    start = {"kind": "start", "metrics": {"mAP50": 0.6, "mAP50-95": 0.4}}
    store.append_events(job.id, [start])
    report_epochs(store, job, 2)
    verdict = {**VERDICT, "judgement": judgement}
    tiles = {tile.label: (tile.value, tile.delta) for tile in show(job).metric}
    assert tiles["mAP50-95"] == ("0.300", "\u22120.100"), "the latest epoch against epoch 0"
    rows = [
        {"role": role, "weights": "a.pt", "params": 10, "metrics": {"mAP50": 0.6, "mAP50-95": value}}
        for role, value in (("parent", 0.4), ("child", 0.45))
    ]
    came_out = {"comparison": rows, "metrics": rows[1]["metrics"], "start": start["metrics"], "kept_start": False}
    store.finish_job(job.id, "done", written("finetune", verdicts=[verdict], **came_out))
    app = show(job)
    assert [element.value for element in app.get(colour)] == ["Worse than before."]
    tiles = {tile.label: (tile.value, tile.delta) for tile in app.metric}
    assert tiles["mAP50-95"] == ("0.450", "+0.050"), "the model that came out, against the one it is judged against"


def test_a_run_that_never_beat_its_start_says_so(show, store):
    job = add(store, "finetune")
    store.finish_job(job.id, "done", written("finetune", kept_start=True))
    assert any(element.value.startswith("No epoch was better") for element in show(job).warning)


def test_a_sparse_run_hands_over_its_last_epoch_and_so_says_nothing_of_its_start(show, store):
    job = add(store)
    store.finish_job(job.id, "done", written("sparsify", kept_start=True))
    assert not show(job).warning


def test_a_model_that_was_deleted_since_keeps_its_name_in_the_tables_of_its_jobs(demo, show, store):
    tuned = add(store, "finetune")
    row = {"weights": str(demo.dense.path), "params": 10, "metrics": {"mAP50": 0.5, "mAP50-95": 0.25}}
    store.finish_job(tuned.id, "done", written("finetune", comparison=[{**row, "role": "reference"}]))
    store.delete_model(demo.dense.id)
    assert list(show(tuned).dataframe[1].value["Model"]) == ["Demo: dense"]


def test_a_timed_model_shows_where_its_time_goes(show, store):
    job = add(store, "latency", predict=True)
    parts = {"latency_ms": 30.0, "convolutions_ms": 20.0, "moving_ms": 7.5, "rest_ms": 2.5}
    entry = {"weights": "a.pt", "imgsz": 320, "threads": 2, **parts}
    store.finish_job(job.id, "done", {"results": [], "predicted": [entry]})
    metrics = {metric.label: metric.value for metric in show(job).metric}
    told = {"Latency": "30.00", "Convolutions": "20.00", "Moving data": "7.50", "Rest": "2.50"}
    assert metrics == {name: f"{value}\u00a0ms" for name, value in told.items()}


def test_any_job_can_be_saved_as_a_recipe(show, store):
    job = add(store, epochs=3, prune_ratio=0.5)
    store.finish_job(job.id, "done", {})
    assert show(job).get("download_button")


def chain_of(store, *verbs):
    """Return a chain and the queued job of its first step."""
    recipe = {"name": "Short", "steps": [{"verb": verb, "settings": {}} for verb in verbs]}
    chain = store.add_chain(recipe, "Model, Short", {"weights": "x.pt"}, None)
    place = ChainPlace(chain.id, 1, None)
    spec = {"weights": "x.pt", "chain": {"base": "x.pt", "made": []}}
    return chain, store.add_job(verbs[0], spec, "step 1", place=place)


def test_a_chain_shows_its_steps_and_where_it_stopped_offers_to_restart(show, store, monkeypatch):
    chain, job = chain_of(store, "sparsify", "prune")
    store.finish_job(job.id, "failed", error="No data.")
    app = show(job)
    assert app.button(key=f"step {chain.id} 1").label == ":primary[**1. Sparse training · Failed**]"
    assert not {"resume", "retry"} & keys(app), "there is one way to go on"
    assert app.button(key=f"step {chain.id} 2").disabled
    asked = []
    monkeypatch.setattr(chains.jobs, "restart_chain", lambda where, chain_id: asked.append(chain_id) or job)
    app.button(key=f"restart {chain.id}").click().run()
    assert not app.exception and asked == [chain.id]


def test_one_button_of_a_stopped_job_calls_to_act_and_that_is_to_go_on(show, store, tmp_path):
    (tmp_path / "last.pt").write_bytes(b"last")
    model = store.add_model(tmp_path / "last.pt", "Some sparsify, stopped after epoch 2", "sparse")
    job = add(store)
    report_epochs(store, job, 2)
    store.finish_job(job.id, "stopped", {"model_ids": [model.id]})
    app = show(job)
    kinds = {
        button.key: button.proto.type for button in app.button if button.key in (f"resume {job.id}", f"open {model.id}")
    }
    assert kinds == {f"resume {job.id}": "primary", f"open {model.id}": "secondary"}


def test_a_step_of_a_chain_opens_its_job(show, store):
    chain, first = chain_of(store, "prune", "export")
    store.finish_job(first.id, "done", {})
    spec = {"weights": "x.pt", "chain": {"base": "x.pt", "made": []}}
    second = store.add_job("export", spec, "step 2", place=ChainPlace(chain.id, 2, first.id))
    alone = add(store)
    app = show(second)
    assert f"restart {chain.id}" not in {button.key for button in app.button}
    app.button(key=f"step {chain.id} 1").click().run()
    assert first.id in app.query_params["job"]
    assert not any(button.key.startswith("step") for button in show(alone).button if button.key)


def test_a_latency_job_shows_every_model_and_where_the_gap_comes_from(show, store):
    def measured(name, p50_ms, explanation=""):
        return {
            "weights": f"/w/{name}.pt", "runtime": "onnx", "imgsz": 320, "threads": 2, "repeats": 50, "params": 10,
            "p50_ms": p50_ms, "p95_ms": p50_ms + 1, "gflops": p50_ms / 4, "speedup": 20 / p50_ms, "ideal_speedup": 4.0,
            "explanation": explanation,
        }  # fmt: skip

    job = add(store, "latency")
    results = [measured("dense", 20.0), measured("pruned", 10.0, "2.00x faster where GFLOPs promise 4.00x.")]
    store.finish_job(job.id, "done", {"results": results, "metrics": {}, "artefacts": []})
    app = show(job)
    table = app.dataframe[1].value
    assert list(table["Model"]) == ["dense.pt", "pruned.pt"] and list(table["Runtime"]) == ["ONNX Runtime"] * 2
    assert list(table["p50, ms"]) == [20.0, 10.0] and list(table["Speed-up"]) == [1.0, 2.0]
    assert list(table["Threads"]) == [2, 2] and list(table["Ideal"]) == [4.0, 4.0]
    told = [element.value for element in app.markdown]
    assert [text for text in told if "GFLOPs promise" in text] == [
        "**pruned.pt, ONNX Runtime:** 2.00x faster where GFLOPs promise 4.00x."
    ]


def measuring_job(store, demo, verb: str, result: dict):
    job = store.add_job(verb, {"weights": str(demo.sparse.path)}, f"Some {verb}", demo.sparse.id)
    whole = {"mAP50": 0.8, "mAP50-95": 0.5}
    store.finish_job(job.id, "done", written(verb, **{"file": "/gone.json", "dense": whole, **result}))
    return job


def leads_to_pruning(app, model_id: str) -> bool:
    return any(f"model={model_id}" in link.proto.query_string for link in app.get("page_link"))


def test_an_accuracy_job_shows_its_curve_and_leads_to_pruning(demo, show, store):
    def point(ratio, score):
        size = {"ratio": ratio, "ratio_achieved": ratio, "params": 2_000_000, "gflops": 1.5}
        return {**size, "metrics": {"mAP50": score + 0.1, "mAP50-95": score}}

    result = {"points": [point(0.1, 0.4998), point(0.5, 0.3)], "beyond": [0.9]}
    app = show(measuring_job(store, demo, "accuracy", result))
    table = app.dataframe[1].value
    assert list(table["Ratio"]) == [0.0, 0.1, 0.5] and list(table["mAP50-95"]) == [0.5, 0.4998, 0.3]
    assert list(table["Change"]) == ["–", "±0.000", "−0.200"] and table["Parameters"][1] == "2.00 M"
    assert len(app.get("plotly_chart")) == 1 and leads_to_pruning(app, demo.sparse.id)
    assert any("Floors forbid 0.9." in caption.value for caption in app.caption)


def test_an_accuracy_job_that_was_stopped_early_shows_what_there_is(demo, show, store):
    app = show(measuring_job(store, demo, "accuracy", {"points": [], "beyond": [], "stopped": True}))
    assert list(app.dataframe[1].value["Ratio"]) == [0.0] and not app.get("plotly_chart")
    app = show(measuring_job(store, demo, "accuracy", {"points": [], "beyond": [], "dense": {}}))
    assert len(app.dataframe) == 1


def test_a_sensitivity_job_shows_its_map_and_leads_to_pruning(demo, show, store):
    def block(name, *scores):
        metrics = {f"{share:g}": {"mAP50-95": score} for share, score in zip((0.25, 0.5), scores, strict=False)}
        return {"block": name, "kind": "C2f", "channels": 32, "metrics": metrics}

    blocks = [block("model.2", 0.4, 0.2), block("model.4", 0.5)]
    result = {"repaired": {"mAP50-95": 0.5}, "shares": [0.25, 0.5], "blocks": blocks}
    assert measured_views.block_changes(parsed("sensitivity", written("sensitivity", **result))) == [
        [pytest.approx(-0.1), pytest.approx(-0.3)],
        [0.0, None],
    ]
    app = show(measuring_job(store, demo, "sensitivity", result))
    assert len(app.get("plotly_chart")) == 1 and leads_to_pruning(app, demo.sparse.id)
    assert not show(measuring_job(store, demo, "sensitivity", {**result, "repaired": {}})).get("plotly_chart")
    job = measuring_job(store, demo, "sensitivity", result)
    store.delete_model(demo.sparse.id)
    assert not leads_to_pruning(show(job), demo.sparse.id)


def test_the_job_in_detail_is_marked_in_the_table_whatever_comes_on_top(show, store):
    older, newer = add(store, "val"), add(store, "val")
    for job in (older, newer):
        store.finish_job(job.id, "done", {})
    app = show(older)
    assert list(app.dataframe[0].value[""]) == ["", "►"]
    store.finish_job(add(store, "export").id, "failed", error="No data.")
    app.run()
    assert list(app.dataframe[0].value[""]) == ["", "", "►"]
    app.query_params["job"] = newer.id
    app.run()
    assert list(app.dataframe[0].value[""]) == ["", "►", ""]
