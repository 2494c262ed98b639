# The semicolons stay: one at the end of a cell keeps a picture from being shown twice.
# fmt: off
# %% [markdown]
# # $title: the data
# Images, labels, statistics of the nuclei, and the tiles that the image-level labels are given to.
#
# Set the path of the data set here. $layout

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # leave out TensorFlow's messages
DATA = os.environ.get("CYCLIC_DATA", "$data")

# %%
from cyclic.config import TilesConfig
from cyclic.datasets.layouts import open_splits
from cyclic.inspect import data as look
from cyclic.inspect.drawing import show_table

train, val = open_splits(DATA)
images = val or train
labelled = [name for name in images.ids if images.has_labels(name)]
print(f"{type(train).__name__}: {len(train.ids)} training and {len(val.ids) if val else 0} val images")

# %% [markdown]
# ## Images
# `test` is left alone: it is for `cyclic evaluate`.

# %%
look.show_images(images, images.ids[:8]);

# %%
show_table(look.image_rows({"train": train, "val": val}))

# %% [markdown]
# ## Labels
# Neighbours have different colours. Touching nuclei are separate instances.

# %%
for name in labelled[:2]:
    look.show_labels(images, name)

# %% [markdown]
# ## Statistics
# Sizes decide on the anchors and on the areas between which a pseudo mask may lie.

# %%
measured = look.measure_nuclei(images, labelled)
look.show_measurements(measured);

# %%
show_table(look.size_rows(measured))

# %% [markdown]
# Nuclei of each class, where the labels have classes:

# %%
show_table(look.class_rows(images, labelled))

# %% [markdown]
# How far does stain alone tell nuclei from the rest? The more the two overlap, the more the classifier has to add.

# %%
look.show_stain(images, labelled);

# %% [markdown]
# ## Tiles
# What the annotator is asked: does this tile show nuclei? Tiles in between are left out.

# %%
tiles = TilesConfig()
print(tiles)
for name in labelled[:2]:
    look.show_tiles(images, name, tiles)

# %%
show_table(look.tile_rows(images, labelled, tiles))

# %% [markdown]
# ## Augmentation
# One place as training sees it again and again.

# %%
look.show_augmentations(images, images.ids[0]);
