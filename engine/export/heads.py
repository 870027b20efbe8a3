"""Which head an export takes, of models that have two.

YOLOv10 and YOLO26 train two heads side by side. ``one-to-many`` gives several boxes for an object, to be suppressed
after the model as with other YOLO models; ``end2end`` gives one, so that what comes out are final boxes, the best
first, and nothing is left to do. The second is what these models were designed for (https://arxiv.org/abs/2405.14458).
Ultralytics chooses it by ``nms=False``.
"""

from __future__ import annotations

from torch import nn
from ultralytics.nn.tasks import BaseModel

from engine.base.errors import ExportError
from engine.export.settings import END2END, ONE_TO_MANY
from engine.profile.describing import gives_centres, has_end2end_head

MOST_ROWS = 300
"Boxes of an image that leave an end-to-end head, as Ultralytics exports it."


def gives_final_boxes(model: nn.Module) -> bool:
    """Whether the outputs of a model that finds boxes are final ones as it stands: rows of box, score, class."""
    return bool(getattr(model, "end2end", False)) or gives_centres(model)


def choose_head(model: nn.Module, name: str, asked: str | None, nms: bool) -> str:
    """Return the head to export, empty where a model has only one.

    Left to itself that is the end-to-end one, unless suppression is to be put into the file, which needs the other.

    Args:
        model: as opened.
        name: of its file.
        asked: one of ``HEADS``, or None.
        nms: suppression is to be put into the file.

    Raises:
        ExportError: the model has no such head, or one that leaves nothing to suppress.
    """
    if nms and gives_centres(model):
        raise ExportError(f"{name} puts out final boxes by design, so there is nothing to suppress; leave NMS out.")
    if not has_end2end_head(model):
        if asked == END2END:
            raise ExportError(
                f"{name} has no end-to-end head, which YOLOv10 and YOLO26 have; leave the head (--head) out, or put "
                "suppression into the file (--nms)."
            )
        return ""
    return asked or (ONE_TO_MANY if nms else END2END)


def select_head(model: BaseModel, head: str, size: tuple[int, int]) -> None:
    """Make a model put out what a file made of this head does.

    Args:
        model: is changed.
        head: from ``choose_head``.
        size: height and width in pixels that are exported for; they decide how many rows there can be.
    """
    if not head:
        return
    anchors = sum(int(size[0] / stride) * int(size[1] / stride) for stride in model.stride.tolist())
    model.end2end = head == END2END
    model.set_head_attr(max_det=min(MOST_ROWS, anchors))
