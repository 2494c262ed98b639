"""From a data set to a batch: loading, molding, and the RPN's targets."""
