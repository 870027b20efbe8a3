"""What every verb on the terminal has in common: its data set, its folder, and Ultralytics' ways of naming things."""

from __future__ import annotations

import argparse
import math


def ultralytics_arguments(parser: argparse.ArgumentParser) -> None:
    """Add Ultralytics' own arguments, KEY=VALUE."""
    parser.add_argument(
        "ultralytics",
        nargs="*",
        metavar="KEY=VALUE",
        help="any other argument of Ultralytics, as on its own command line: mosaic=0.5 freeze=10 cache=ram",
    )


def save_option(
    parser: argparse.ArgumentParser, text: str = "folder for what is made (a new one below ./runs)"
) -> None:
    """Add the folder of what is made, named here or as in Ultralytics."""
    parser.add_argument("--save-dir", metavar="DIR", help=text)
    parser.add_argument("--project", metavar="DIR", help="or, as in Ultralytics: the folder that --name lies in (runs)")
    parser.add_argument("--name", metavar="NAME", help="of the folder below --project; -2, -3, ... where it exists")
    parser.add_argument("--exist-ok", action="store_true", help="write into the folder of --name though it exists")


def batch_size(text: str) -> int | float:
    """Return a number of images, -1 for AutoBatch, or a share of the GPU's memory for it, as Ultralytics takes them."""
    try:
        number = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("a number of images, -1, or a share of the GPU's memory") from error
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError("a finite number of images")
    return int(number) if number.is_integer() else number


def data_option(parser: argparse.ArgumentParser, text: str, *, required: bool = False) -> None:
    """Add the data set, and whether one that Ultralytics knows may be downloaded."""
    parser.add_argument("--data", required=required, metavar="YAML", help=text)
    parser.add_argument(
        "--download", action="store_true", help="fetch the images of a name that Ultralytics knows, where missing"
    )
