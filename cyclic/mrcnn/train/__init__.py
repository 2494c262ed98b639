"""What a training run needs beside the network: optimizer, callbacks, checkpoints, folder."""
