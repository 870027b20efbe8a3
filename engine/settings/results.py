"""What verbs return: one frozen model for each, told by ``--json``, kept with a job, and read by the pages.

The names on the wire are those of the fields. A field whose default is None is left out where it is None, so it need
not be there either: results that older versions wrote are read too. docs/results.md and docs/results.schema.json are
made from this module by ``python -m engine.settings.results_docs``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from engine.base.errors import StorageError
from engine.base.imgsz import ImageSize
from engine.base.numbers import GFLOPS_IMGSZ

Metrics = dict[str, float]
"Short name of a metric, such as mAP50-95 (``engine.base.tasks.METRICS``) -> its value; shares are from 0 to 1."


class Part(BaseModel):
    """Values that belong together, frozen."""

    model_config = ConfigDict(
        frozen=True, defer_build=True, use_attribute_docstrings=True, populate_by_name=True, protected_namespaces=()
    )
    _absent: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Note which fields are left out where they are None."""
        cls._absent = frozenset(
            name for name, field in cls.model_fields.items() if not field.is_required() and field.default is None
        )

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None or name not in self._absent}


class Artefact(Part):
    """A file that a verb wrote."""

    path: str
    """of the file"""
    kind: str
    """trained, sparse, pruned or finetuned (checkpoints), a format of export, or report"""
    is_model: bool = Field(False, alias="register")
    """whether a workspace takes it as a model"""
    name: str | None = None
    """of the model, in place of the job's"""
    suffix: str | None = None
    """what a model's name gets besides, such as 'stopped after epoch 3'"""
    parent: str | None = None
    """path of the checkpoint that it was made from, where the job works on another"""
    params: int | None = None
    """parameters, where they are not those of the result"""
    metrics: Metrics | None = None
    """where they are not those of the result"""


class Result(Part):
    """What every verb returns."""

    artefacts: tuple[Artefact, ...] = ()
    """files that were made"""
    metrics: Metrics = {}
    """of the model that was made or measured, short name such as mAP50-95 -> value; empty where nothing was measured"""
    params: int | None = None
    """parameters of the model that was made or looked at"""
    stopped: bool | None = None
    """whether it ended early on request, with what there was until then"""
    model_ids: tuple[str, ...] | None = None
    """of a job: ids of the models that the workspace took, in the order of the artefacts"""
    known: dict[str, str] | None = None
    """of a job: id of a model whose very file was in the workspace already -> the sentence that says so"""

    def __getitem__(self, name: str) -> Any:
        """Return a value as ``dumped`` gives it, for scripts of version 0.2, where a result was a dictionary."""
        return dumped(self)[name]


class DataFit(Part):
    """How a model and a data set go together."""

    verdict: str = "fits"
    """fits, renamed (as many classes of other names) or rebuilt (a part is trained anew)"""
    sentence: str = ""
    """what a person should know, empty where there is nothing to say"""
    model_names: tuple[str, ...] = ()
    """classes of the model, in the order of their numbers"""
    data_names: tuple[str, ...] = ()
    """classes of the data set as the model would see them"""


class GammaSummary(Part):
    """|gamma| over all BatchNorm channels of a model."""

    channels: int
    """that were counted"""
    median: float
    """of |gamma|"""
    p10: float
    """a tenth of the channels lies below"""
    p90: float
    """nine in ten of the channels lie below"""
    near_zero: float
    """share of the channels below 0.01, 0 to 1"""
    zero: float
    """share of the channels at exactly 0, 0 to 1"""
    sparse: bool
    """whether sparse training has separated the channels"""
    verdict: str
    """the same in a sentence"""


class LayerGammas(Part):
    """One BatchNorm layer."""

    name: str
    """of the module, such as model.0.bn"""
    channels: int
    """of the layer"""
    prunable: int
    """channels that a plan may remove"""
    reason: str
    """why the others are always kept, empty where there are none"""
    gamma_min: float
    """smallest |gamma|"""
    gamma_median: float
    """of |gamma|"""
    gamma_max: float
    """largest |gamma|"""


class InspectResult(Result):
    """A checkpoint: task, classes, size, gammas of every layer."""

    weights: str
    """path of the checkpoint"""
    task: str
    """detect, segment, pose, obb, classify, semantic or depth"""
    names: dict[int, str]
    """number of a class -> its name"""
    trained_imgsz: int
    """pixels"""
    image_channels: int | None = None
    """of the images that it takes"""
    params: int
    """of the model"""
    gflops: float
    """at ``imgsz``"""
    imgsz: ImageSize
    """pixels, or (height, width)"""
    made: dict[str, Any] | None
    """what the file says of how it was made, null where it says nothing"""
    gammas: GammaSummary
    """of all layers together"""
    layers: tuple[LayerGammas, ...]
    """every BatchNorm layer with learned gammas, in the model's order"""


class PlannedLayer(Part):
    """One BatchNorm layer of a plan."""

    name: str
    """of the module, such as model.0.bn"""
    before: int
    """channels"""
    after: int
    """channels that survive"""
    prunable: int
    """channels that any plan may remove"""
    reason: str
    """why the others are always kept, empty where there are none"""
    at_floor: bool
    """whether the floor holds the layer"""
    bounds: tuple[str, ...]
    """what shaped it besides its scores: floor, rounding, own ratio, coupled, equal parts"""


class Preview(Part):
    """What pruning gives. Parameters and GFLOPs are exact."""

    params_before: int
    """parameters"""
    params: int
    """parameters that are left"""
    gflops_before: float
    """at ``imgsz``"""
    gflops: float
    """at ``imgsz``"""
    imgsz: ImageSize
    """pixels, or (height, width)"""
    ratio_requested: float
    """share of the prunable channels, 0 to 1"""
    ratio_achieved: float
    """share of the prunable channels that goes, 0 to 1"""
    max_ratio: float
    """largest ratio at which the order of scores alone leaves every layer its floor"""
    limiting_layer: str
    """the layer that stands in the way of more, empty where none does"""
    ceiling_ratio: float
    """largest ratio at all: every layer at its floor"""
    channels_before: int
    """of all layers"""
    channels: int
    """that are left"""
    layers: tuple[PlannedLayer, ...]
    """every BatchNorm layer, in the model's order"""


class PreviewResult(Preview, Result):
    """What pruning gives. Parameters and GFLOPs are exact."""

    params: int
    """parameters that are left"""
    latency_ms_before: float | None = None
    """milliseconds of one image, predicted for ONNX Runtime on this machine; where pruning was to a latency"""
    latency_ms: float | None = None
    """the same of the pruned model"""


class PruneResult(PreviewResult):
    """The smaller model, and where it was pruned to a latency, what it takes."""

    pruned: str
    """path of the checkpoint"""
    latency_ms_measured_before: float | None = None
    """milliseconds of one image, timed in turns with the pruned model"""
    latency_ms_measured: float | None = None
    """the same of the pruned model"""
    latency_ratio: float | None = None
    """predicted / measured latency of the pruned model"""
    latency_threads: int | None = None
    """that it was timed with"""
    latency_note: str | None = None
    """what is wrong with the latency and what to do; empty where it is as predicted"""


class AccuracyPoint(Part):
    """What pruning at one ratio leaves."""

    ratio: float
    """asked for, as a share of the prunable channels, 0 to 1"""
    ratio_achieved: float
    """share of the prunable channels that went, 0 to 1"""
    params: int
    """parameters that are left"""
    gflops: float
    """at ``gflops_imgsz``"""
    metrics: Metrics
    """of the pruned model"""
    recalibrated: int | None = None
    """images that BatchNorm statistics were estimated on again after the cut"""


class AccuracyCurve(Part):
    """Accuracy against the prune ratio, before any fine-tuning."""

    file: str
    """where the measurements are kept"""
    dense: Metrics
    """of the checkpoint as it is; empty where it was stopped before"""
    points: tuple[AccuracyPoint, ...]
    """ascending by ratio"""
    beyond: tuple[float, ...]
    """ratios that floors forbid"""
    images: int
    """of the validation split that were used"""
    gflops_imgsz: ImageSize | None = None
    """pixels that GFLOPs are counted at"""
    stopped: bool = False
    """ended early on request; the points are those measured until then"""


class AccuracyResult(AccuracyCurve, Result):
    """Accuracy against the prune ratio, before any fine-tuning."""

    weights: str
    """the checkpoint"""
    imgsz: int | None = None
    """pixels of the longer side"""
    fit: DataFit | None = None
    """how the model and the data set go together"""
    stopped: bool = False
    """ended early on request; the points are those measured until then"""


class BlockSensitivity(Part):
    """One block, pruned alone."""

    block: str
    """such as model.4"""
    kind: str
    """class of the module, such as C2f"""
    channels: int
    """of its BatchNorm layers"""
    metrics: dict[str, Metrics]
    """share of its channels, such as '0.25' -> metrics; shares that floors forbid are missing"""


class Sensitivity(Part):
    """What pruning each block alone costs."""

    file: str
    """where the measurements are kept"""
    dense: Metrics
    """of the checkpoint as it is"""
    repaired: Metrics
    """of the whole model, recalibrated as the pruned ones are: what losses are counted from"""
    shares: tuple[float, ...]
    """of a block's channels, 0 to 1"""
    blocks: tuple[BlockSensitivity, ...]
    """in the model's order"""
    images: int
    """of the validation split that were used"""
    stopped: bool = False
    """ended early on request; the blocks are those measured until then"""


class SensitivityResult(Sensitivity, Result):
    """What pruning each block alone costs."""

    weights: str
    """the checkpoint"""
    imgsz: int | None = None
    """pixels of the longer side"""
    fit: DataFit | None = None
    """how the model and the data set go together"""
    stopped: bool = False
    """ended early on request; the blocks are those measured until then"""


class SparsityUsed(Part):
    """How gammas were driven to zero."""

    method: str
    """targeted, proximal or classic"""
    ratio: float
    """share of the prunable channels (targeted), 0 to 1"""
    budget: dict[str, float | None] | None
    """in place of the ratio: params, gflops, latency_ms -> the most"""
    budget_imgsz: ImageSize = 640
    """pixels, or (height, width), that a budget of GFLOPs is counted at"""
    strength: float
    """s of the penalty s * |gamma| (proximal, classic)"""
    schedule: str
    """of the strength: constant, linear or cosine"""
    warmup: float = 0.0
    """share of the run over which the strength rises, 0 to 0.5"""


class MeasuredRole(Part):
    """A model beside a fine-tuned one, measured on the same images."""

    role: str
    """child (the fine-tuned one), parent (what it started from) or reference (the dense original)"""
    weights: str
    """path of the checkpoint"""
    name: str | None = None
    """in place of the file's"""
    params: int | None = None
    """parameters"""
    metrics: Metrics
    """on the validation split"""


class Verdict(Part):
    """A model held against another one that was measured on the same images."""

    against: str
    """whom: parent (what it was made from) or reference (the dense original)"""
    weights: str
    """path of that checkpoint"""
    metric: str
    """short name of what the task is judged by, such as mAP50-95"""
    value: float
    """of the model"""
    other: float
    """of the one it is held against"""
    low: float | None = None
    """least difference that the doubt leaves: paired bootstrap over the images; absent where a task is not judged
    image by image"""
    high: float | None = None
    """largest difference that the doubt leaves"""
    images: int | None = None
    """that were measured on"""
    judgement: Literal["better", "same", "worse"]
    """same where the interval from low to high holds 0"""
    sentence: str
    """all this in words, with what to do next"""


class TrainingResult(Result):
    """What a training left behind."""

    best: str
    """path of the checkpoint of the best epoch"""
    last: str
    """path of the checkpoint of the last epoch"""
    save_dir: str
    """folder of the run"""
    params: int
    """of the model"""
    imgsz: int | None = None
    """pixels of the longer side"""
    fit: DataFit | None = None
    """how the model and the data set go together; absent where training started from a model YAML"""
    epochs_done: int
    """counted over all runs that went on with it"""
    stopped: bool
    """asked to stop before its last epoch"""
    optimizer: str
    """as Ultralytics calls it"""
    lr0: float
    """initial learning rate"""
    batch: int | None = None
    """images a step, over all processes"""
    ultralytics: dict[str, Any] = {}
    """further arguments of Ultralytics that held"""
    sparsity: SparsityUsed | None
    """null in training without it"""
    comparison: tuple[MeasuredRole, ...] = ()
    """of fine-tuning: the model, its parent and its dense reference; empty otherwise"""
    verdicts: tuple[Verdict, ...] = ()
    """the model against its parent and its dense reference; empty where nothing was compared"""
    start: Metrics | None = None
    """of the model that training began with, in the trainer's own validation (epoch 0)"""
    kept_start: bool | None = None
    """whether no epoch was better than that model, so that best.pt is that one"""


class Measured(Part):
    """What a validation measured; the same numbers as ``yolo val`` prints."""

    map50: float | None
    """mean average precision at IoU 0.50, 0 to 1; like the next three, null where the task finds no boxes"""
    map50_95: float | None
    """mean average precision over IoU 0.50 to 0.95, 0 to 1"""
    precision: float | None
    """mean over classes at the confidence of the best F1, 0 to 1"""
    recall: float | None
    """mean over classes at the confidence of the best F1, 0 to 1"""
    per_class: dict[str, float]
    """name of a class -> its own score, 0 to 1: average precision over IoU 0.50 to 0.95, share of its images that come
    first, or IoU of its pixels, by task; only classes that the split shows"""
    images: int
    """of the split"""
    instances: int
    """boxes; images or pictures of labels where the task has no boxes"""
    speed_ms: dict[str, float]
    """stage (preprocess, inference, loss, postprocess) -> milliseconds an image"""
    metrics: Metrics
    """everything that the task tells, short name -> value"""


class ValResult(Measured, Result):
    """What a validation measured; the same numbers as ``yolo val`` prints."""

    weights: str
    """path of the checkpoint"""
    imgsz: int | None = None
    """pixels of the longer side"""
    fit: DataFit | None = None
    """how the model and the data set go together"""
    ultralytics: dict[str, Any] = {}
    """further arguments of Ultralytics that held"""
    metrics: Metrics
    """everything that the task tells, short name -> value"""


class ComparedModel(Part):
    """One model of a comparison."""

    weights: str
    """path of the checkpoint"""
    name: str
    """of the file, with as many folders as tell it from the others"""
    params: int
    """parameters"""
    gflops: float
    """at ``gflops_imgsz``"""
    size_mb: float
    """of the file; 1 MB is 1,000,000 bytes"""
    metrics: Metrics
    """of the validation"""
    per_class: dict[str, float]
    """name of a class -> its own score, 0 to 1"""
    speed_ms: dict[str, float]
    """stage -> milliseconds an image"""
    change: dict[str, float]
    """against the reference: relative for params, gflops, size_mb and latency_ms, absolute for metrics"""
    change_per_class: dict[str, float]
    """absolute"""
    latency_ms: float | None
    """milliseconds of one image, median; null where it was not measured"""


class TimedWith(Part):
    """What latency was measured with."""

    runtime: str
    """onnx, torch (both on the CPU) or cuda"""
    threads: int
    """of the runtime"""
    imgsz: ImageSize
    """pixels, or (height, width)"""
    repeats: int
    """timed runs of each model"""


class Comparison(Part):
    """Models in the order they were named, on the same images."""

    reference: str
    """path of the checkpoint that changes are counted from"""
    data: str
    """the data set's description"""
    split: str
    """train, val or test"""
    imgsz: int
    """pixels of the longer side"""
    gflops_imgsz: ImageSize = GFLOPS_IMGSZ
    """pixels, or (height, width), that GFLOPs are counted at"""
    models: tuple[ComparedModel, ...]
    """in the order they were named; the reference first where it was not"""
    task: str = "detect"
    """of all of them"""
    latency: TimedWith | None
    """null where latency was not measured"""
    fit: DataFit | None = None
    """how the model and the data set go together"""


class CompareResult(Comparison, Result):
    """Models in the order they were named, on the same images."""


class Gate(Part):
    """One thing that an exported file was held to."""

    name: str
    """checker, difference, boxes, size, latency or accuracy"""
    passed: bool | None
    """null where nothing could be held against a limit"""
    value: float | None
    """what was measured, null where nothing was; units as in the text"""
    limit: float | None
    """what was asked, null where nothing was; units as in the text"""
    text: str
    """one sentence with the numbers"""


class ExportResult(Result):
    """An exported file, and what was measured on it.

    Differences are between the file run on the CPU and the checkpoint's float32 PyTorch model before its BatchNorm
    layers are fused, so they cover fusing, tracing, simplifying, quantising and the runtime.
    """

    path: Path
    """of the file; not the one asked for where it was not passed under --strict"""
    onnx: str | None = None
    """the path that was asked for, where that is the format"""
    torchscript: str | None = None
    """the path that was asked for, where that is the format"""
    openvino: str | None = None
    """the path that was asked for, where that is the format"""
    format: str = "onnx"
    """onnx, torchscript or openvino"""
    precision: str = "fp32"
    """fp32, fp16 or int8"""
    size_mb: float
    """of the file; 1 MB is 1,000,000 bytes"""
    opset: int | None
    """of ONNX; null in other formats"""
    imgsz: tuple[int, int]
    """height, width in pixels"""
    dynamic: bool
    """takes any batch and image size"""
    nms: bool = False
    """boxes are suppressed within the file"""
    head: str | None = None
    """end2end or one-to-many; empty where the model has only one"""
    images_compared: int
    """images that the file and the checkpoint were run on"""
    max_abs_difference: float | None
    """in the outputs' own units: pixels for boxes, probability for scores; null where outputs differ in kind"""
    mean_abs_difference: float | None
    """average in the same units"""
    max_rel_difference: float | None
    """largest difference in a channel / largest output of the PyTorch model in that channel"""
    boxes_expected: int
    """found by PyTorch"""
    boxes_found: int
    """found by the file"""
    boxes_matched: int
    """of the same class at IoU 0.9 or more; without boxes: images or pixels of which both say the same"""
    box_share: float | None
    """matched / found by the model that found more, 0 to 1; null where neither found any"""
    input_shape: tuple[int, ...]
    """(batch, channels, height, width) of the first input"""
    output_shapes: tuple[tuple[int, ...], ...]
    """of every output for that input"""
    latency_ms: float | None = None
    """milliseconds of one image on this machine's processor, median"""
    accuracy: Metrics
    """of the file and of the fp32 checkpoint, by the metric that judges the task, where it was measured"""
    verified: bool = True
    """false where detections had to be tested, and neither boxes nor mAP could be held to a limit"""
    passed: bool
    """no gate failed, and the detections were tested where they had to be"""
    tolerance: float | None
    """largest ``max_rel_difference`` that was accepted; null where none was asked"""
    gates: tuple[Gate, ...] = ()
    """everything that the file was held to"""
    seconds: float
    """that the export took"""


class Timing(Part):
    """One model in one runtime: batch 1, inference alone, without reading the image or suppressing boxes."""

    weights: str
    """path of the checkpoint"""
    digest: str | None = None
    """SHA-256 of the checkpoint"""
    runtime: str
    """onnx, torch (both on the CPU) or cuda"""
    imgsz: ImageSize
    """pixels, or (height, width)"""
    threads: int
    """of the runtime"""
    repeats: int
    """timed runs"""
    p50_ms: float
    """median, in milliseconds"""
    p95_ms: float
    """95th percentile, in milliseconds"""
    params: int
    """parameters"""
    gflops: float
    """at ``imgsz``"""
    speedup: float
    """median of the first model in this runtime / median of this one"""
    ideal_speedup: float
    """GFLOPs of the first model / GFLOPs of this one"""
    explanation: str
    """where the difference between the two goes, from what was measured; empty for the first model"""


class Prediction(Part):
    """The time of a whole model in ONNX Runtime on this machine's processor: one image, in milliseconds."""

    weights: str
    """path of the checkpoint"""
    imgsz: ImageSize
    """pixels, or (height, width)"""
    threads: int
    """of the runtime"""
    latency_ms: float
    """the sum of the three below"""
    convolutions_ms: float
    """with their activations"""
    moving_ms: float
    """concatenation, splits, additions, pooling, rearranging"""
    rest_ms: float
    """decoding the outputs, and what a run costs by itself"""


class LatencyResult(Result):
    """How fast models are on this machine, or what predicts how fast their plans become."""

    results: tuple[Timing, ...]
    """one a runtime and model; empty with --predict"""
    predicted: tuple[Prediction, ...] | None = None
    """with --predict: one a model"""


class ReportResult(Result):
    """One HTML file that says everything about one model."""

    report: str
    """path of the file"""


VerbResult = (
    InspectResult
    | PruneResult
    | PreviewResult
    | AccuracyResult
    | SensitivityResult
    | TrainingResult
    | ValResult
    | CompareResult
    | ExportResult
    | LatencyResult
    | ReportResult
)


class StepResult(Part):
    """What a step of a recipe returned."""

    verb: str
    """what it did"""
    save_dir: str
    """folder of the step"""
    result: VerbResult
    """as the verb returns it"""

    @model_validator(mode="before")
    @classmethod
    def _by_verb(cls, values: Any) -> Any:
        """Read the result as that of the verb which stands beside it."""
        told = values.get("result") if isinstance(values, Mapping) else None
        if isinstance(told, Mapping) and (model := RESULTS.get(values.get("verb", ""))):
            return {**values, "result": model.model_validate(told)}
        return values


class RunResult(Result):
    """What a recipe gave."""

    name: str
    """of the recipe"""
    steps: tuple[StepResult, ...]
    """in their order; of a run that was stopped, those until then"""
    models: tuple[str, ...]
    """paths of the checkpoints that were made, in their order"""
    metrics: Metrics
    """of the last step that measured some"""
    save_dir: str
    """folder of the run"""
    stopped: bool
    """asked to end before its last step"""


class ListedStep(Part):
    """A step of a recipe that is shipped."""

    verb: str
    """what it does"""
    settings: dict[str, Any]
    """options of the verb"""


class ListedRecipe(Part):
    """A recipe that is shipped."""

    id: str
    """what it is asked for by"""
    name: str
    """what a person calls it"""
    description: str
    """what it is for, in a sentence"""
    steps: tuple[ListedStep, ...]
    """in their order"""


class RecipeList(RootModel[tuple[ListedRecipe, ...]]):
    """What ``run --list`` tells."""

    model_config = ConfigDict(frozen=True)


RESULTS: Mapping[str, type[Result]] = {
    "inspect": InspectResult,
    "preview": PreviewResult,
    "accuracy": AccuracyResult,
    "sensitivity": SensitivityResult,
    "prune": PruneResult,
    "train": TrainingResult,
    "sparsify": TrainingResult,
    "finetune": TrainingResult,
    "val": ValResult,
    "compare": CompareResult,
    "export": ExportResult,
    "latency": LatencyResult,
    "report": ReportResult,
    "run": RunResult,
}
"""Verb -> what it returns."""


def dumped(part: Part | RecipeList) -> Any:
    """Return a result, or a part of one, as JSON-able values: what ``--json`` tells and a workspace keeps."""
    return part.model_dump(mode="json", by_alias=True)


def parsed(verb: str, values: Mapping[str, Any]) -> Result:
    """Return the result that ``dumped`` gave, or that version 0.2.0 wrote.

    Raises:
        StorageError: It is none of this verb.
    """
    try:
        return RESULTS.get(verb, Result).model_validate(values)
    except ValidationError as error:
        raise StorageError(f"This is no result of {verb}: {_first(error)}.") from error


@lru_cache(maxsize=256)
def kept_result(verb: str, text: str) -> Result | None:
    """Return the result of a verb from the JSON that a workspace keeps; read once while it is asked for.

    Of one that is not as this version or 0.2.0 writes it there is what all results have in common, else None.
    """
    for model in (RESULTS.get(verb, Result), Result):
        with contextlib.suppress(ValidationError):
            return model.model_validate_json(text)
    return None


def _first(error: ValidationError) -> str:
    """Return what is wrong first, such as 'points.0.ratio: Field required'."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
