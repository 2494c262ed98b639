# The semicolons stay: one at the end of a cell keeps a picture from being shown twice.
# fmt: off
# %% [markdown]
# # $title: inside Mask R-CNN
# Anchors, what the region proposal network is trained on and proposes, what the heads are trained on, what is detected,
# and the weights.
#
# Set the path of a run of `cyclic train` here; it knows its data set.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # leave out TensorFlow's messages
RUN = os.environ.get("CYCLIC_RUN", "$run")

# %%
from cyclic.inspect import model as look
from cyclic.inspect.drawing import show_table
from cyclic.inspect.run import open_run
from cyclic.mrcnn import visualize

run = open_run(RUN)
inside = look.open_model(run, cycle=run.cycles[-1], round_=run.config.rounds.students)
inside.model.config.display()

# %% [markdown]
# ## Anchors
# Every cell of every pyramid level has one anchor of each ratio. Drawn are those of the middle cells, on a training
# sample; "boxes" counts the pseudo masks that an anchor of the level fits best.

# %%
look.show_anchors(inside);

# %%
show_table(look.anchor_rows(inside))

# %% [markdown]
# ## Targets of the region proposal network
# Positive anchors move to the box of their pseudo mask. Neutral anchors bear no loss: those between positive and
# negative, those left out by the draw, and those where the run does not know (`ignore`).

# %%
look.show_rpn_targets(inside);

# %% [markdown]
# ## Proposals
# What the network makes of its anchors, and what is left after suppression of near duplicates.

# %%
found = look.propose(inside)
look.show_proposals(inside, found);

# %% [markdown]
# Share of the sample's pseudo masks that the first proposals cover: what the heads never get, they cannot find.

# %%
show_table(look.recall_rows(inside, found))

# %% [markdown]
# ## Targets of the heads
# ROIs that overlap a pseudo mask by half are positive: they get its class, the way to its box, and its mask.

# %%
targets = look.roi_targets(inside)
look.show_roi_targets(inside, targets);

# %%
look.show_mask_targets(targets);

# %% [markdown]
# ## Detections
# Step by step, in the training sample:

# %%
show_table(look.detection_rows(inside))

# %%
look.show_detections(inside);

# %% [markdown]
# In whole images, tile by tile as `cyclic predict` does it, with the errors where there is a ground truth:

# %%
for name in run.images.ids[:2]:
    look.show_prediction(inside, run, name)

# %% [markdown]
# ## Weights
# A spike at zero or a very wide histogram tells of a layer that does not learn, or of one that runs away.

# %%
look.show_weights(inside);

# %%
visualize.display_weight_stats(inside.model);
