"""Where images, tiles and label maps come from: data set layouts, tile cutting, synthetic tissue, augmentation."""
