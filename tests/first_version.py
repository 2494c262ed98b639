"""Settings as version 0.1 stored them with weights and runs: those of its configuration for two CPU cores."""

OLD = {
    "seed": 0,
    "supervision": "image",
    "precision": "auto",
    "cycles": 5,
    "scale": 2,
    "mean_pixel": [189.44, 136.76, 169.23],
    "evaluate": True,
    "backbone": {"name": "resnet18", "norm": "group", "weights": None},
    "tiles": {
        "folder": None, "size": 48, "stride": 36, "min_coverage": 0.1, "max_coverage_negative": 0.0, "balance": True,
    },
    "classifier": {
        "levels": ["C3", "C5"], "hidden": None, "steps": 300, "later_steps": 100, "batch": 32, "optimizer": "adamw",
        "learning_rate": 0.001, "later_learning_rate": 0.0002, "weight_decay": 0.0001, "held_out": 0.1, "shear": 0.0,
        "zoom": 0.1, "stain_jitter": 0.05,
    },
    "maps": {"method": "gradcam", "level": "C3", "flips": False, "tile": 256, "overlap": 64, "average": True},
    "pseudo": {
        "source": "hematoxylin", "agreement": False, "threshold_method": "otsu", "threshold": None,
        "factors": [0.8, 1.0, 1.2, 1.4, 1.7, 2.0], "split": True, "max_hole": 800, "closing": 1, "min_area": 40,
        "max_area": None, "rank_by": "confidence", "count": None, "share": 0.65, "pool": True, "min_confidence": None,
        "hull": False, "ignore": True, "min_activation": 0.0, "background": 0.0, "negative_tiles": True,
        "ignore_rest": False,
    },
    "segmenter": {
        "crop": 320, "batch": 2, "steps": 1000, "later_steps": 600, "steps_per_epoch": 100, "optimizer": "adamw",
        "learning_rate": 0.0005, "later_learning_rate": 0.0003, "schedule": "cosine", "warmup": 50,
        "weight_decay": 0.0001, "pyramid_channels": 128, "rpn_channels": 128, "mask_channels": 128, "fc_size": 512,
        "anchor_scales": [16, 32, 64, 128, 256], "rpn_anchors": 128, "rois": 64, "proposals": 500,
        "max_instances": 128, "stain_jitter": 0.2, "fade": 0.0, "zoom": 0.0, "gt_proposals": True,
    },
    "rounds": {"students": 0, "score": 0.85, "ignore_score": 0.2, "count": 100.0},
    "detection": {
        "tile": 256, "overlap": 64, "batch": 1, "proposals": 1000, "max_instances": 400, "score": 0.3,
        "box_nms_threshold": 0.7, "nms_threshold": 0.3, "shape_power": 8.0, "mask_margin": 0.15, "min_area": 30,
        "min_area_share": 0.25, "max_area_ratio": 5.0, "usual_area": None, "views": 1,
    },
}  # fmt: skip

# What version 0.1 meant where this one has another default.
EARLIER = [
    "pseudo.factors=[0.8, 1.0, 1.2, 1.4, 1.7, 2.0]",
    "tiles.count=null",
    "classifier.levels=[C3, C5]",
    "classifier.share=1",
    "classifier.feedback=false",
    "classifier.later_steps=100",
    "classifier.later_learning_rate=2.0e-4",
    "classifier.stain_jitter=0.05",
    "tiles.size=48",
    "tiles.stride=36",
    "maps.level=C3",
    "mask_rcnn.anchor_scales=[16, 32, 64, 128, 256]",
    "maps.method=gradcam",
    "pseudo.recipe=stain",
    "detection.tile=256",
    "detection.proposals=1000",
]
