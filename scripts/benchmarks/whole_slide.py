"""What a slide would take on a GPU: an estimate, of which only the host's part was measured. Nobody ran it.

The network's multiplications and additions are counted from the shapes of its layers, two operations for each pair. The
time is theirs at a share of the GPU's peak in bfloat16, which is assumed. The host's part is the measured time of
slides without a network (`slides`), in proportion to their area; one row for each of those.
"""

import argparse
from pathlib import Path

from benchmarks.peaks import peak_tflops
from cyclic.files import read_json

HOST = Path(__file__).resolve().parents[2] / "results/benchmarks/slides.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", default="he-nuclei", help="weights file or name of a model")
    parser.add_argument("--side", type=int, default=100_000, help="px of the slide")
    parser.add_argument("--tissue", type=float, default=0.3, help="share of the slide that is looked at")
    parser.add_argument("--masks", type=int, default=160, help="detections of a tile whose masks are made")
    parser.add_argument("--device", default="NVIDIA H100 80GB HBM3", help="its peak is looked up")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.2, 0.35], help="of that peak, as assumed")
    parser.add_argument("--host", default=HOST, help="results of `slides`")


def run(arguments: argparse.Namespace) -> list[dict]:
    from cyclic.slides.predictor import Predictor

    predictor = Predictor.load(arguments.weights)
    settings = predictor.config.detection
    parts = tile_operations(predictor, arguments.masks)
    area = arguments.side**2 * arguments.tissue
    tiles = area / (settings.tile - settings.overlap) ** 2
    work = tiles * sum(parts.values())
    mm2 = area * (predictor.config.mpp / 1000) ** 2
    peak = peak_tflops(arguments.device, "mixed_bfloat16")
    rows = [row(f"tile of {settings.tile} px: {part}", gflop=each / 1e9) for part, each in parts.items()]
    rows += [
        row("tile: all", gflop=sum(parts.values()) / 1e9),
        row("mm2 of tissue", gflop=work / mm2 / 1e9, tiles=tiles / mm2),
        row("slide", gflop=work / 1e9, tiles=tiles, mm2=mm2),
    ]
    for share in arguments.shares:
        rows.append(row(f"slide: network, {share:.0%} of {peak} TFLOP/s", work / (share * peak * 1e12)))
    for measured in read_json(Path(arguments.host))["results"]:
        rows.append(row(f"slide: host, as {measured['case']}", area / 1e6 / measured["mpx_per_s"]))
    return rows


def row(case: str, seconds: float | None = None, **more: float) -> dict:
    """Return a line of the results; all lines have the same keys."""
    counts = {key: more.get(key) for key in ("gflop", "tiles", "mm2")}
    return {"case": case, "ours_s": seconds, "peer": None, "peer_s": None, "ratio": None, **counts}


def tile_operations(predictor, masks: int) -> dict[str, float]:
    """Return the operations of each part of the networks for one tile.

    The classifier's map is made where nuclei are; here it is counted for the whole tile.

    Args:
        predictor: `cyclic.Predictor`.
        masks: how many masks are made.
    """
    import keras

    from benchmarks.work import operations

    model, settings = predictor.model, predictor.config.detection
    network, config, side = model.network, model.config, round(settings.tile * predictor.config.scale)
    image = keras.Input(batch_shape=(1, side, side, 3))
    features = network.backbone(image)
    pyramid = network.fpn(features)

    def pooled(count: int, side: int):
        return keras.Input(batch_shape=(count, side, side, config.TOP_DOWN_PYRAMID_SIZE))

    parts = {
        "backbone": operations(network.backbone, image),
        "FPN": operations(network.fpn, features),
        "RPN": sum(operations(network.rpn, level) for level in pyramid),
        "box head": operations(network.box_head, pooled(config.POST_NMS_ROIS_INFERENCE, config.POOL_SIZE)),
        "mask head": operations(network.mask_head, pooled(masks, config.MASK_POOL_SIZE)),
    }
    if predictor.classifier is not None:
        # Its head is one dense layer of two units.
        parts["classifier"] = operations(predictor.classifier.get_layer("backbone"), image)
    return parts
