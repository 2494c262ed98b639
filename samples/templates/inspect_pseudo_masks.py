# The semicolons stay: one at the end of a cell keeps a picture from being shown twice.
# fmt: off
# %% [markdown]
# # $title: from activation maps to pseudo masks
# What each method's map shows, what the thresholds make of it, which components are kept and why, and how many of them
# are right.
#
# Set the path of a run of `cyclic train` here; it knows its data set.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # leave out TensorFlow's messages
RUN = os.environ.get("CYCLIC_RUN", "$run")

# %%
from cyclic.inspect import pseudo as look
from cyclic.inspect.drawing import middle, show_table
from cyclic.inspect.run import open_run

run = open_run(RUN)
cycle, name = run.cycles[-1], run.images.ids[0]
image = run.images.image(name)
print(run.config.maps, run.config.pseudo, sep="\n")

# %% [markdown]
# ## Maps of each method
# All on one scale, from 0 (black) to 1 (pale yellow). `hematoxylin` needs no classifier; `product` is high only where
# the stain and the run's own map agree.

# %%
crop = middle(image)
maps = look.maps_of_methods(run, cycle, crop)
look.show_maps(crop, maps);

# %% [markdown]
# ## Thresholds
# What each method takes as nuclei in the run's map, in the stain and in their product. Percentages are the share of the
# image.

# %%
for kind in (run.config.maps.method, "hematoxylin", "product"):
    if kind in maps:
        print(kind)
        look.show_thresholds(crop, maps[kind])

# %% [markdown]
# The run takes components at several multiples of its threshold and keeps the best: pale nuclei are whole at low ones,
# clumps part at high ones.

# %%
found, labels, scores = look.components(run, cycle, name)
look.show_levels(image, found, run);

# %% [markdown]
# ## What is kept, and why
# A component's confidence is the geometric mean of its factors, so its weakest factor says what is wrong with it.

# %%
look.show_selection(run, cycle, name, found, labels, scores);

# %%
show_table(look.component_rows(run, cycle, found, labels, scores))

# %% [markdown]
# The best and the worst components, with their confidence and their weakest factor:

# %%
look.show_ranking(run, name, labels, scores);

# %% [markdown]
# ## How many are right?
# Against the ground truth of val images, where there is one; the method has never seen it. A falling line says that the
# ranking works.

# %%
look.show_precision(run, run.images.ids);

# %%
for each in run.cycles:
    look.show_errors(run, each, name)
