"""From a slide that no memory holds to its nuclei, and to files of any size; on one machine or many."""
